"""Images kept decoded are the images, however they were kept; and what cannot be kept is decoded each time."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fcnseg.data import decoded
from fcnseg.data.decoded import Decoded
from fcnseg.data.decoding import decoded_image


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a photo é.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def kept(tmp_path):
    return Decoded(tmp_path / "kept" / "images", reserve=0)


@pytest.fixture
def reads(monkeypatch):
    """Paths of the images that were decoded."""
    found = []

    def watched(path, channels=3):
        found.append(path)
        return decoded_image(path, channels)

    monkeypatch.setattr(decoded, "decoded_image", watched)
    return found


def test_an_image_is_decoded_once(photo, kept, reads, tmp_path):
    expected = decoded_image(photo)
    for again in (kept, kept, Decoded(kept.folder)):
        image = again.image(photo, 3)
        np.testing.assert_array_equal(image, expected)
        assert image.flags.writeable
    assert reads == [photo]
    assert [file.suffix for file in kept.folder.iterdir()] == [".npy"]


def test_channels_are_kept_apart(photo, kept, reads):
    assert kept.image(photo, 3).shape == (30, 40, 3)
    for _ in range(2):
        np.testing.assert_array_equal(kept.image(photo, 1), decoded_image(photo, 1))
    assert len(reads) == 2


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_image_is_decoded_again(photo, kept, reads, change):
    kept.image(photo, 3)
    before = photo.stat()
    content = photo.read_bytes()
    Image.new("RGB", (40, 30), "red").save(photo)
    if change == "size":
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        photo.write_bytes(photo.read_bytes().ljust(len(content), b"\0"))
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert photo.stat().st_size == before.st_size
    np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
    assert len(reads) == 2


def half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        *(half, lambda _: b"", lambda _: b"no array", lambda content: content[:100], lambda _: b"PK\x03\x04" * 9),
        lambda content: content.replace(b"{", b"\0", 1),
        lambda content: content.replace(b"(30, ", b"(3" + b"0" * 3, 1),
    ],
)
def test_a_damaged_array_is_made_again(photo, kept, reads, damage):
    kept.image(photo, 3)
    (file,) = kept.folder.iterdir()
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
    assert file.read_bytes() == sound
    assert len(reads) == 2


@pytest.mark.parametrize("other", [np.zeros((3, 4, 3), np.float32), np.zeros((3, 4), np.uint8)])
def test_an_array_of_something_else_is_made_again(photo, kept, other):
    kept.image(photo, 3)
    (file,) = kept.folder.iterdir()
    np.save(file, other)
    np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))


def test_the_folder_may_go_at_any_time(photo, kept):
    for _ in range(2):
        np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
        shutil.rmtree(kept.folder)


def test_many_at_once_keep_one_whole_array(photo, kept, capsys):
    expected = decoded_image(photo)
    many = [Decoded(kept.folder, reserve=0) for _ in range(40)]  # of one process, as those of two machines may seem
    with ThreadPoolExecutor(8) as pool:
        for image in pool.map(lambda each: each.image(photo, 3), many):
            np.testing.assert_array_equal(image, expected)
    assert len(list(kept.folder.iterdir())) == 1
    assert not any(each.full for each in many)
    assert capsys.readouterr().err == ""


def test_a_folder_that_goes_while_an_image_is_written_is_made_again(photo, kept, monkeypatch, capsys):
    write = decoded.write_durably

    def swept(place, *rest, **options):
        shutil.rmtree(place.parent)
        monkeypatch.setattr(decoded, "write_durably", write)
        try:
            (place.parent / "below").rename(place)
        except OSError as error:
            raise ValueError("cannot be written") from error

    monkeypatch.setattr(decoded, "write_durably", swept)
    for _ in range(2):
        np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
    assert len(list(kept.folder.iterdir())) == 1
    assert capsys.readouterr().err == ""


def test_what_is_wrong_with_an_image_is_said_as_ever(photo, kept):
    photo.write_bytes(photo.read_bytes()[:200])
    with pytest.raises(ValueError, match=rf"{photo} cannot be read as an image"):
        kept.image(photo, 3)
    photo.unlink()
    with pytest.raises(ValueError, match=rf"{photo} is gone, and was there"):
        kept.image(photo, 3)
    assert not kept.folder.exists()


def test_an_image_that_is_gone_is_not_read_from_what_was_kept(photo, kept):
    kept.image(photo, 3)
    photo.unlink()
    with pytest.raises(ValueError, match=rf"{photo} is gone"):
        kept.image(photo, 3)


def test_a_folder_that_takes_nothing_is_said_once_and_stops_nothing(photo, tmp_path, reads, capsys):
    place = tmp_path / "a [file]"
    place.touch()
    kept = Decoded(place, reserve=0)
    for _ in range(3):
        np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
    said = capsys.readouterr().err
    assert said.count("\n") == said.count(f"data.decoded={place} takes no more images (") == 1
    assert "what is not in it is decoded each time" in said
    assert len(reads) == 3


def test_room_is_left_for_checkpoints(photo, tmp_path, capsys):
    free = shutil.disk_usage(tmp_path).free
    kept = Decoded(tmp_path / "kept", reserve=2 * free)
    np.testing.assert_array_equal(kept.image(photo, 3), decoded_image(photo))
    assert "GiB of the disk stay free for checkpoints" in capsys.readouterr().err
    assert not list((tmp_path / "kept").iterdir())
