"""Loaders: the same batches with any number of workers, and what is in them."""

import signal

import pytest
import torch

from fcnseg.data.datamodule import LEFT_TO_TRAINING, SegmentationData, started
from fcnseg.data.dataset import SegmentationDataset
from fcnseg.data.jitter import Jitter
from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import Augmentation, transforms
from fcnseg.data.voc import open_split
from fcnseg.interruption import INTERRUPTED
from fcnseg.shapes import Batch

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def shapes_data(workers=0, **options):
    plain, varied = (Augmentation(transforms(**each), 0) for each in ({}, {"crop": 32, "flip": True}))
    train = SegmentationDataset(Shapes("train", 7, 40, 48, 0), varied, Jitter(0.3, 0))
    val = SegmentationDataset(Shapes("val", 3, 40, 48, 0), plain)
    return SegmentationData(val, train, **({"batch_size": 3, "batching": "crop"} | options), workers=workers)


def voc_data(devkit, **options):
    train, val = (
        SegmentationDataset(open_split(str(devkit), "2012", split), Augmentation([], 0)) for split in ("train", "val")
    )
    return SegmentationData(val, train, **options)


@pytest.fixture
def devkit(tmp_path):
    from tiny_voc import write_devkit

    return write_devkit(tmp_path, train=5, val=2)


def equal(first, second):
    tensors = [(one, other) for one, other in zip(first, second, strict=True) if isinstance(one, torch.Tensor)]
    assert len(tensors) == 5
    return all(torch.equal(*pair) for pair in tensors) and first.names == second.names


def test_a_batch_holds_bytes_and_says_which_images_they_are():
    loader = shapes_data().train_dataloader()
    found = list(loader)
    assert len(found) == len(loader) == 2
    for batch in found:
        assert isinstance(batch, Batch)
        assert (batch.images.shape, batch.images.dtype) == ((3, 3, 32, 32), torch.uint8)
        assert (batch.targets.shape, batch.targets.dtype) == ((3, 32, 32), torch.uint8)
        assert batch.sizes.tolist() == [[32, 32]] * 3
        assert batch.jitter.shape == (3, 4)
        assert batch.jitter.unique(dim=0).shape == (3, 4)
        assert batch.names == [f"shapes_train_{index:06d}" for index in batch.indices.tolist()]


def test_validation_images_come_one_by_one_in_order_and_unchanged():
    data = shapes_data()
    for index, batch in enumerate(data.val_dataloader()):
        image, mask = data.val.source.read(index)
        assert batch.names == [f"shapes_val_{index:06d}"]
        assert torch.equal(batch.images[0].permute(1, 2, 0), torch.from_numpy(image))
        assert torch.equal(batch.targets[0], torch.from_numpy(mask))
        assert batch.jitter is None
    assert index == 2


def test_workers_do_not_change_the_batches_in_any_epoch():
    alone, helped = (shapes_data(workers).train_dataloader() for workers in (0, 2))
    epochs = []
    for epoch in range(2):
        for loader in (alone, helped):
            loader.batch_sampler.set_epoch(epoch)
        first, second = list(alone), list(helped)
        assert len(first) == len(second) == 2
        assert all(equal(*pair) for pair in zip(first, second, strict=True))
        epochs.append(first)
    assert not equal(epochs[0][0], epochs[1][0])


def test_whole_images_keep_their_sizes(devkit):
    data = voc_data(devkit, batching="whole", batch_size=1)
    sizes = {batch.names[0]: tuple(batch.images.shape[2:]) for batch in data.train_dataloader()}
    assert sizes == {data.train.source.name(index): data.train.source.size(index) for index in range(5)}


def test_groups_of_equal_size_need_no_padding(devkit):
    found = list(voc_data(devkit, batching="groups", batch_size=2).train_dataloader())
    assert sorted(len(batch.names) for batch in found) == [1, 1, 1, 2]  # images 0 and 3 are of one size
    assert all(batch.sizes.unique(dim=0).tolist() == [list(batch.images.shape[2:])] for batch in found)


def test_pad_makes_one_size_of_several_and_tells_theirs(devkit):
    (batch,) = voc_data(devkit, batching="pad", batch_size=5).train_dataloader()
    assert batch.images.shape == (5, 3, 72, 80)
    assert len(batch.sizes.unique(dim=0)) == 4
    for targets, (height, width) in zip(batch.targets, batch.sizes.tolist(), strict=True):
        assert (targets[height:] == 255).all()
        assert (targets[:, width:] == 255).all()


def test_a_process_without_an_image_validates_an_empty_batch(monkeypatch):
    data, seen = shapes_data(), []
    for rank in range(4):
        monkeypatch.setattr(SegmentationData, "_ranks", lambda self, rank=rank: (rank, 4))
        seen.append([batch.names for batch in data.val_dataloader()])
    assert [len(each) for each in seen] == [1, 1, 1, 1]
    assert [len(names) for (names,) in seen] == [1, 1, 1, 0]


def test_an_unknown_batching_is_refused():
    with pytest.raises(ValueError, match=r"data\.batching must be one of crop, whole, groups, pad, not 'mosaic'"):
        shapes_data(batching="mosaic")


def test_a_module_for_evaluation_has_no_training_batches():
    data = SegmentationData(shapes_data().val)
    assert len(data.val_dataloader()) == 3
    with pytest.raises(RuntimeError, match="no training set"):
        data.train_dataloader()


def test_loader_workers_ignore_what_asks_a_run_to_end():
    before = {number: signal.getsignal(number) for number in LEFT_TO_TRAINING}
    try:
        started(0)
        assert all(signal.getsignal(number) == signal.SIG_IGN for number in LEFT_TO_TRAINING)
        assert set(LEFT_TO_TRAINING) == set(INTERRUPTED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
