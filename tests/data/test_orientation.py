"""EXIF's orientation: what it says of an image and its mask, and that pixels are read as they are stored."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from fcnseg.data.dataset import ImageFiles, Pair
from fcnseg.data.orientation import disagreement, orientation


def tag(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def saved(path, size, turn=None):
    Image.new("RGB" if path.suffix == ".jpg" else "L", size[::-1]).save(path, exif=tag(turn) if turn else b"")
    return path


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_orientation_is_read_from_jpeg_and_png(tmp_path, turn):
    assert orientation(saved(tmp_path / "a.jpg", (2, 4), turn)) == turn
    assert orientation(saved(tmp_path / "a.png", (2, 4), turn)) == turn


@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", tag(6).tobytes()[:20], tag(0).tobytes(), tag(9).tobytes()],
)
def test_what_is_no_orientation_asks_for_nothing(tmp_path, exif):
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg", exif=exif)
    assert orientation(tmp_path / "a.jpg") == 1


def test_what_is_no_image_asks_for_nothing(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    assert (orientation(tmp_path / "a.npy"), orientation(tmp_path / "b.jpg")) == (1, 1)


LYING, STANDING, SQUARE = (20, 30), (30, 20), (20, 20)


@pytest.mark.parametrize(
    ("image", "mask", "said", "harmless"),
    [
        ((LYING, 1), (LYING, 1), None, None),
        ((LYING, 6), (LYING, 6), None, None),  # stored alike, turned alike
        ((LYING, 6), (STANDING, 1), "they agree as viewed, but pixels are read as stored", False),
        ((LYING, 8), (LYING, 1), "they agree as stored, which is how they are read", True),
        ((LYING, 1), (LYING, 6), "they agree as stored, which is how they are read", True),
        ((LYING, 3), (LYING, 1), "nothing tells whether they agree", False),
        ((SQUARE, 6), (SQUARE, 1), "nothing tells whether they agree", False),
        ((LYING, 6), (SQUARE, 1), None, None),  # of sizes that turning does not explain
    ],
)
def test_what_image_and_mask_disagree_on_is_said(tmp_path, image, mask, said, harmless):
    paths = saved(tmp_path / "a.jpg", *image), saved(tmp_path / "a.png", *mask)
    fault = disagreement(*paths, (image[0], mask[0]))
    if said is None:
        assert fault is None
        return
    assert (fault.kind, fault.path, fault.harmless) == ("exif", paths[0], harmless)
    assert said in fault.said
    assert f"{paths[0]} by orientation {image[1]} and its mask {paths[1]} by {mask[1]}" in fault.said


@pytest.mark.parametrize("turn", range(1, 9))
def test_pixels_are_read_as_they_are_stored_whatever_exif_asks_for(tmp_path, turn):
    pair = Pair("a", tmp_path / "a.jpg", tmp_path / "a.png")
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:, :8] = 250
    Image.fromarray(stored).save(pair.image, exif=tag(turn), quality=95)
    saved(pair.mask, (8, 16))
    image, mask = ImageFiles([pair], ("a", "b")).read(0)
    assert (image[:, 0] > 200).all()
    assert (image[:, 15] < 50).all()
    assert image.shape[:2] == mask.shape


def test_training_says_that_it_is_exif_where_sizes_differ_by_it(tmp_path):
    pair = Pair("a", saved(tmp_path / "a.jpg", LYING, 6), saved(tmp_path / "a.png", STANDING))
    with pytest.raises(ValueError, match=r"EXIF has viewers turn .*a\.jpg by orientation 6 .* save both upright"):
        ImageFiles([pair], ("a", "b")).read(0)
