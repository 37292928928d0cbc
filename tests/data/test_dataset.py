"""Files on disk as images and labels, every fault named; samples."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcnseg.data.dataset import Draw, ImageFiles, Pair, SegmentationDataset, Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import CLASSES, open_split
from tiny_voc import picture, write_devkit, write_mask


@pytest.fixture
def source(tmp_path):
    return open_split(str(write_devkit(tmp_path)), "2012", "train")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small image and its mask as bytes, and where to write damaged copies."""
    folder = tmp_path_factory.mktemp("damaged")
    image, mask = picture(2)
    pair = Pair("a", folder / "a.jpg", folder / "a.png")
    Image.fromarray(image).save(pair.image)
    write_mask(pair.mask, mask)
    return pair, pair.image.read_bytes(), pair.mask.read_bytes()


# ---- what is read


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_palette_grey_and_one_bit_masks_hold_labels(source, mode):
    labels = np.zeros((60, 80), np.uint8)
    labels[20:30, 5:50] = 1
    mask = Image.fromarray(labels * 255).convert("1") if mode == "1" else Image.fromarray(labels)
    if mode == "P":
        mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(source.pairs[0].mask)
    with Image.open(source.pairs[0].mask) as file:
        assert file.mode == mode
    np.testing.assert_array_equal(source.read(0)[1], labels)


def test_a_grey_photograph_becomes_rgb(source):
    Image.fromarray(np.full((60, 80), 77, np.uint8)).save(source.pairs[0].image)
    image, _ = source.read(0)
    assert image.shape == (60, 80, 3)
    assert (image == 77).all()


def test_the_sources_are_sources(source):
    assert isinstance(source, Source)
    assert isinstance(Shapes("val", 1, 32, 32, 0), Source)


def test_a_source_travels_to_another_process(source):
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.pairs, copy.classes, copy.void) == (source.pairs, source.classes, source.void)


# ---- faults: each names the file and what to do


def test_a_truncated_photograph_is_named(source):
    path = source.pairs[1].image
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ValueError, match=rf"{path} cannot be read as an image .*: restore it, or take its id out"):
        source.read(1)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_an_empty_file_is_named(source, kind):
    path = getattr(source.pairs[1], kind)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{path} cannot be read as an image .*: restore it, or take its id out"):
        source.read(1)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_file_deleted_after_opening_is_named(source, kind):
    path = getattr(source.pairs[1], kind)
    path.unlink()
    with pytest.raises(ValueError, match=rf"{path} is gone.*: restore it"):
        source.read(1)
    source.read(0)


def test_a_mask_with_a_damaged_header_is_named(source):
    path = source.pairs[1].mask
    content = bytearray(path.read_bytes())
    content[11] = 5  # the length of the first chunk
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} cannot be read as an image .*: restore it"):
        source.read(1)


def test_the_size_of_a_damaged_photograph_names_it(source):
    path = source.pairs[1].image
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"{path} cannot be read as an image"):
        source.size(1)


def test_a_mask_of_colours_is_refused(source):
    path = source.pairs[0].mask
    with Image.open(path) as mask:
        mask.convert("RGB").save(path)
    with pytest.raises(ValueError, match=rf"the mask {path} has mode RGB; .*: convert it"):
        source.read(0)


def test_a_label_that_is_no_class_is_refused(source):
    path = source.pairs[2].mask
    _, mask = picture(2)
    mask[3, 4] = 254
    write_mask(path, mask)
    with pytest.raises(ValueError, match=rf"the mask {path} holds \[254\], .*\(0\.\.20\) nor void \(255\): correct it"):
        source.read(2)


def test_image_and_mask_of_different_sizes_are_both_named_with_their_sizes(source):
    pair = source.pairs[0]
    write_mask(pair.mask, np.zeros((80, 60), np.uint8))
    said = rf"{pair.image} is 80x60, its mask {pair.mask} is 60x80 \(width x height\).*: replace one"
    with pytest.raises(ValueError, match=said):
        source.read(0)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans(), kind=st.booleans())
def test_any_damage_is_read_or_named(files, place, value, cut, kind):
    pair, image, mask = files
    path, good = (pair.image, image) if kind else (pair.mask, mask)
    at = int(place * len(good))
    pair.image.write_bytes(image)
    pair.mask.write_bytes(mask)
    path.write_bytes(good[:at] if cut else good[:at] + bytes([value]) + good[at + 1 :])
    try:
        read = ImageFiles([pair], CLASSES).read(0)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert read[0].shape[:2] == read[1].shape


# ---- the fingerprint


def test_the_fingerprint_is_the_same_for_the_same_files(tmp_path):
    first, second = (write_devkit(tmp_path / name) for name in ("one", "two"))
    prints = [open_split(str(root), "2012", "train").fingerprint() for root in (first, second, first)]
    assert len(set(prints)) == 1
    assert len(prints[0]) == 16


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_the_fingerprint_changes_with_a_file(source, kind):
    before = source.fingerprint()
    path = getattr(source.pairs[1], kind)
    os.truncate(path, path.stat().st_size - 1)
    assert source.fingerprint() != before


def test_the_fingerprint_changes_with_the_list(source):
    orders = [source.pairs, source.pairs[::-1], source.pairs[:2]]
    assert len({ImageFiles(pairs, CLASSES).fingerprint() for pairs in orders}) == 3


# ---- samples and batches


def test_a_sample_is_read_transformed_and_named(source):
    def mirror(image, mask, draw):
        return image[:, ::-1] + np.uint8(draw.epoch), mask[:, ::-1]

    got = SegmentationDataset(source, mirror)[Draw(1, epoch=3)]
    image, mask = source.read(1)
    np.testing.assert_array_equal(got.image, image[:, ::-1] + np.uint8(3))
    np.testing.assert_array_equal(got.mask, mask[:, ::-1])
    assert (got.index, got.name) == (1, "2012_000001")
    assert len(SegmentationDataset(source, mirror)) == 3
