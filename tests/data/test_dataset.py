"""Files on disk as images and labels, every fault named; samples; batches."""

import os
import pickle
import weakref

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcnseg.data.dataset import Draw, ImageFiles, Pair, Sample, SegmentationDataset, Source, collate
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


def sample(height, width, index=0):
    image = np.full((height, width, 3), 10 + index, np.uint8)
    image[..., 2] = np.arange(width)
    return Sample(image, np.full((height, width), index, np.uint8), index, f"image {index}")


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


def test_a_batch_of_one_size_holds_the_images_unchanged():
    samples = [sample(5, 7, index) for index in (4, 2)]
    batch = collate(samples)
    assert (batch.images.shape, batch.images.dtype) == ((2, 3, 5, 7), torch.uint8)
    assert (batch.targets.shape, batch.targets.dtype) == ((2, 5, 7), torch.uint8)
    for row, one in enumerate(samples):
        np.testing.assert_array_equal(batch.images[row].permute(1, 2, 0), one.image)
        np.testing.assert_array_equal(batch.targets[row], one.mask)
    assert batch.sizes.tolist() == [[5, 7], [5, 7]]
    assert batch.indices.tolist() == [4, 2]
    assert batch.names == ["image 4", "image 2"]


def test_a_batch_has_the_channels_and_the_labels_of_its_samples():
    samples = [
        Sample(np.full((4, 6, 5), 7, np.uint8), np.full((4, 6), 70000 - index, np.int32), index, "") for index in (0, 1)
    ]
    batch = collate(samples, -1)
    assert (batch.images.shape, batch.images.dtype) == ((2, 5, 4, 6), torch.uint8)
    assert batch.targets.dtype == torch.int32
    assert batch.targets[:, 0, 0].tolist() == [70000, 69999]
    small = Sample(np.zeros((2, 6, 5), np.uint8), np.zeros((2, 6), np.int32), 2, "")
    assert (collate([*samples, small], -1, pad=True).targets[2, 2:] == -1).all()


@pytest.mark.parametrize("void", [255, 21])
def test_smaller_images_are_padded_at_the_right_and_below_with_void(void):
    batch = collate([sample(3, 8, 1), sample(6, 2, 2)], void, pad=True)
    assert batch.images.shape == (2, 3, 6, 8)
    assert batch.sizes.tolist() == [[3, 8], [6, 2]]
    assert batch.targets[0].unique().tolist() == sorted([1, void])
    assert (batch.targets[0, :3] == 1).all()
    assert (batch.targets[1, :, :2] == 2).all()
    assert (batch.targets == void).sum() == 2 * 6 * 8 - 3 * 8 - 6 * 2
    assert (batch.images[0, :, 3:] == 0).all()
    assert (batch.images[1, :, :, 2:] == 0).all()


@pytest.mark.parametrize("pad", [False, True])
def test_a_loaders_batch_is_that_of_its_images(source, pad):
    side = None if pad else 4
    dataset = SegmentationDataset(
        source, lambda *read: tuple(each[:side, :side] for each in read[:2]), chance=lambda _: 7
    )
    draws = [Draw(2), Draw(0)]
    batch, other = collate(dataset.__getitems__(draws), pad=pad), collate([dataset[draw] for draw in draws], pad=pad)
    for one, two in zip(batch, other, strict=True):
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
    assert batch.chances.tolist() == [7, 7]


def test_an_image_is_in_the_batch_before_the_next_is_read(source):
    alive, most = [], []

    def watch(image, mask, draw):
        kept = image[:4, :4].copy()
        alive.append(weakref.ref(kept))
        most.append(sum(each() is not None for each in alive))
        return kept, mask[:4, :4]

    collate(SegmentationDataset(source, watch).__getitems__([Draw(index) for index in (0, 1, 2, 0)]))
    assert most == [1, 1, 1, 1]


def test_different_sizes_are_not_padded_unasked():
    with pytest.raises(ValueError, match=r"different sizes .*image 1, image 2.*data\.batching=crop or groups"):
        collate([sample(3, 8, 1), sample(6, 2, 2)])
