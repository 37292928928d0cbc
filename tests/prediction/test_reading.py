"""Images as viewers show them, as the net sees them, and frames of videos."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from fcnseg.data.dataset import Draw
from fcnseg.data.transforms import Augmentation, transforms
from fcnseg.prediction.reading import BrokenInputError, Frames, View, resized_back, turned, upright_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(path, pixels=PIXELS, turn=None, **options):
    exif = Image.Exif()
    if turn:
        exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("turn", [None, *range(1, 9), 11])
def test_an_image_is_turned_as_viewers_turn_it(tmp_path, ending, turn):
    path = saved(tmp_path / f"a.{ending}", turn=turn)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    found = upright_image(path, 3)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


def test_turns_are_those_of_pillow():
    for turn in range(1, 9):
        exif, image = Image.Exif(), Image.fromarray(PIXELS)
        exif[ExifTags.Base.Orientation] = turn
        image.info["exif"] = exif.tobytes()
        np.testing.assert_array_equal(turned(PIXELS, turn), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA"])
def test_images_of_any_mode_get_the_channels_of_the_net(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(PIXELS).convert(mode).save(path)
    assert upright_image(path, 3).shape == (6, 9, 3)
    assert upright_image(path, 1).shape == (6, 9, 1)


def png_of_size(path, width, height):
    """A PNG whose header claims a size, and which holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def deep(path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(path)


def cut(path):
    saved(path, np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-4000])


BROKEN = {
    "bomb": (lambda path: png_of_size(path, 60000, 60000), "exceeds limit"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as an image"),
    "text": (lambda path: path.write_text("no image"), "cannot be read as an image"),
    "cut": (cut, "cannot be read as an image"),
    "deep": (deep, "scale it to 0..255 and save it as uint8"),
    "folder": (lambda path: path.mkdir(), "is a folder, where an image was expected"),
    "gone": (lambda path: None, "is no file that is there"),
    "circle": (lambda path: path.symlink_to(path.name), "is no file that is there"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_named_with_its_reason(tmp_path, kind):
    path = tmp_path / "ä 図.png"
    make, reason = BROKEN[kind]
    make(path)
    with pytest.raises(BrokenInputError) as caught:
        upright_image(path, 3)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "split" not in str(caught.value)


def test_an_image_of_other_channels_is_told_how_many_the_net_reads(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 2), np.uint8))
    with pytest.raises(
        BrokenInputError, match="has 2 channels instead of the 3 that this net reads: save the image with"
    ):
        upright_image(tmp_path / "a.npy", 3)


def test_a_large_photograph_is_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert upright_image(saved(tmp_path / "a.png"), 3).shape == (6, 9, 3)


@pytest.mark.parametrize("side", [None, 5, 40])
def test_the_net_sees_what_it_saw_in_validation(side):
    steps = Augmentation(transforms(image_side=side), 7)
    expected, _ = steps(PIXELS, np.zeros(PIXELS.shape[:2], np.uint8), Draw(3))
    np.testing.assert_array_equal(View(side, 3).of(PIXELS), expected)


def test_labels_go_back_to_the_nearest_pixel():
    labels = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(resized_back(labels, (4, 2)), [[1, 2], [1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(resized_back(labels, (1, 1)), [[4]])
    assert resized_back(labels, (2, 2)) is labels


def test_a_mask_resized_and_back_is_the_same():
    labels = np.random.default_rng(1).integers(0, 21, (10, 7), dtype=np.uint8)
    larger = resized_back(labels, (30, 21))
    np.testing.assert_array_equal(resized_back(larger, (10, 7)), labels)


def write_video(path, frames, code="MJPG", size=(32, 24)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 5, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), (0, 0, 60 * number), np.uint8))
    writer.release()
    return path


def test_frames_are_rgb_or_grey_at_their_rate(tmp_path):
    video = Frames.opened(write_video(tmp_path / "a.avi", 4))
    assert (video.rate, video.announced) == (5, 4)
    frames = list(video.read(3))
    assert len(frames) == 4
    np.testing.assert_allclose(frames[2].mean((0, 1)), (120, 0, 0), atol=4)
    assert next(iter(Frames.opened(tmp_path / "a.avi").read(1))).shape == (24, 32, 1)


def test_a_video_that_ends_early_gives_its_frames_and_says_so(tmp_path):
    video = Frames.opened(write_video(tmp_path / "a.avi", 4))
    frames = video._replace(announced=10).read(3)
    assert len([next(frames) for _ in range(4)]) == 4
    with pytest.raises(BrokenInputError, match="ends after 4 of the 10 frames"):
        next(frames)


def test_a_second_that_only_sound_has_is_no_damage(tmp_path):
    video = Frames.opened(write_video(tmp_path / "a.avi", 4))
    assert len(list(video._replace(announced=9).read(3))) == 4  # at 5 frames a second


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenInputError, match=r"a\.mp4 (cannot be read as a video|is no file that is there)"):
        Frames.opened(path)


def test_nets_of_other_channels_read_no_video(tmp_path):
    video = Frames.opened(write_video(tmp_path / "a.avi", 1))
    with pytest.raises(BrokenInputError, match="3 channels instead of the 5"):
        next(video.read(5))
