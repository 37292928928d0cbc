"""Batches of images of one size, and of several; each image is copied before the next is read."""

import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fcnseg.data.collation import collate
from fcnseg.data.dataset import Draw, Sample, SegmentationDataset
from fcnseg.data.voc import open_split
from tiny_voc import write_devkit


@pytest.fixture
def source(tmp_path):
    return open_split(str(write_devkit(tmp_path)), "2012", "train")


def sample(height, width, index=0):
    image = np.full((height, width, 3), 10 + index, np.uint8)
    image[..., 2] = np.arange(width)
    return Sample(image, np.full((height, width), index, np.uint8), index, f"image {index}")


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


def cut(image, mask, draw):
    return image[:4, :4], mask[:4, :4]


def as_it_is(image, mask, draw):
    return image, mask


def seven(draw):
    return 7


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("pad", [False, True])
def test_a_loaders_batch_is_that_of_its_images(source, pad, workers):
    dataset, draws = SegmentationDataset(source, as_it_is if pad else cut, chance=seven), [Draw(2), Draw(0)]
    loader = DataLoader(
        dataset, batch_sampler=[draws], collate_fn=partial(collate, pad=pad), num_workers=workers, timeout=60 * workers
    )
    other = collate([dataset[draw] for draw in draws], pad=pad)
    for batch in loader:
        for one, two in zip(batch, other, strict=True):
            assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
        assert batch.chances.tolist() == [7, 7]


def test_a_loader_leaves_reading_to_whoever_makes_the_batch(source):
    dataset, draws = SegmentationDataset(source, cut), [Draw(2), Draw(0), Draw(1)]
    (drawn,) = DataLoader(dataset, batch_sampler=[draws], collate_fn=lambda samples: samples)
    source.read = None  # as if the files were gone
    with pytest.raises(TypeError):
        drawn[0]
    del source.read
    assert [sample.index for sample in drawn] == [2, 0, 1]
    assert (len(drawn), drawn[1].index) == (3, 0)


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
    said = r"different sizes .*\(image 1 of 8x3, image 2 of 2x6\): set data\.batching=crop, groups or pad"
    with pytest.raises(ValueError, match=said):
        collate([sample(3, 8, 1), sample(6, 2, 2)])
