"""One, two and three processes over gloo: the same counts, the same loss, the same gradients."""

import multiprocessing
import os
import warnings
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim.lr_scheduler import LambdaLR

from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.data.chance import LossChance
from fcnseg.data.datamodule import SegmentationData
from fcnseg.data.dataset import SegmentationDataset
from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import Augmentation
from fcnseg.fcn import FCN
from fcnseg.losses import REDUCTIONS, PixelCrossEntropy
from fcnseg.task import SegmentationTask
from recorder import Recorder
from warm import free_port

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FORK = multiprocessing.get_context("fork")
WORLDS = (1, 2, 3)
COUNTS = (1, 2, 5, 7)
"""Images to validate: fewer than the processes, as many, and not divided by them."""


class Voided(Shapes):
    """Shapes of which some images are nearly all void, so that processes have very different numbers of pixels."""

    def read(self, index):
        image, mask = super().read(index)
        if index % 3:
            mask = mask.copy()
            mask[: 30 + index % 10] = self.void
        return image, mask


SAMPLED = {"keep": 0.5, "class_weights": [0.1 + 0.2 * i for i in range(21)], "class_rates": [0.4, *[0.8] * 20]}
LOSSES = [(reduction, {}) for reduction in REDUCTIONS] + [("mean", SAMPLED), ("image_mean", SAMPLED)]


def made(reduction, **options):
    torch.manual_seed(0)
    net = FCN(SqueezeNet(dropout=0.0), 21, 16).double()
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight, std=0.1)
    recorders = []

    def optimizer(net):
        recorders.append(Recorder(net))
        return recorders[0], LambdaLR(recorders[0], lambda step: 1.0)

    return SegmentationTask(net, PixelCrossEntropy(reduction, **options), optimizer), recorders


def data_of(train, val, **options):
    sets = [
        SegmentationDataset(Voided(split, count, 40, 48, 0), Augmentation([], 0), chance=LossChance(0))
        for split, count in (("train", train), ("val", val))
    ]
    return SegmentationData(sets[1], sets[0], batching="groups", **options)


def trainer_of(world, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    quiet |= {"enable_model_summary": False, "use_distributed_sampler": False}
    several = {"strategy": "ddp"} if world > 1 else {}
    return Trainer(accelerator="cpu", devices=world, precision="64-true", **quiet, **several, **options)


def found_by(rank, world, port, folder):
    """What one of the processes finds, in a file."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if world > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
        os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    found = {}
    for count in COUNTS:
        task, _ = made("mean")
        trainer_of(world).validate(task, data_of(12, count), verbose=False)
        [one] = task.validations
        found[count] = (one.confusion, one.num_images, one.loss)
    for reduction, sampling in LOSSES:
        task, recorders = made(reduction, **sampling)
        options = {"max_epochs": -1, "max_steps": 1, "accumulate_grad_batches": 2, "limit_val_batches": 0}
        trainer_of(world, **options).fit(task, data_of(12, 1, batch_size=6, accumulate=2))
        found[reduction, bool(sampling)] = recorders[0].steps[0]
    torch.save(found, folder / f"{world}_{rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """{number of processes: what each of them found}."""
    folder = tmp_path_factory.mktemp("processes")
    started = []
    for world in WORLDS:
        target = partial(found_by, world=world, port=free_port(), folder=folder)
        started += [FORK.Process(target=target, args=(rank,)) for rank in range(world)]
    for each in started:
        each.start()
    for each in started:
        each.join(200)
        each.kill()
    return {world: [torch.load(folder / f"{world}_{rank}.pt") for rank in range(world)] for world in WORLDS}


@pytest.mark.parametrize("count", COUNTS)
def test_validation_counts_the_same_on_any_number_of_processes(found, count):
    matrix, images, loss = found[1][0][count]
    assert images == count
    for world in WORLDS[1:]:
        for each in found[world]:
            assert each[count][:2] == (matrix, count)
            assert each[count][2] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("loss", [(reduction, bool(sampling)) for reduction, sampling in LOSSES])
def test_a_step_has_the_same_gradients_on_any_number_of_processes(found, loss):
    expected = found[1][0][loss]
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-3
    for world in WORLDS[1:]:
        for each in found[world]:
            for ours, theirs in zip(each[loss], expected, strict=True):
                assert float((ours - theirs).abs().max()) <= 1e-12 * float(theirs.abs().max())
