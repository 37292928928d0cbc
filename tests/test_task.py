"""Training as the papers define it: the same gradients however a step is cut up, and the authors' SGD."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.checkpoints import WholeFiles
from fcnseg.data.jitter import jittered
from fcnseg.fcn import FCN
from fcnseg.losses import REDUCTIONS, PixelCrossEntropy
from fcnseg.optim import parameter_groups, schedule_factor
from fcnseg.resumption import Checkpoints
from fcnseg.shapes import Batch
from fcnseg.task import SegmentationTask
from fcnseg.weights.stages import read_stage
from recorder import Recorder

VOID = 255
CLASSES = 4


def batch_of(images, targets, first=0):
    count, height, width = targets.shape
    indices = torch.arange(first, first + count)
    return Batch(images, targets, torch.tensor([[height, width]] * count), indices, [f"image{i}" for i in indices])


def picture(height, width, seed, void=0.0, count=1):
    """Noise that brightens from class to class, with a share of void."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, CLASSES, (count, height // 8 + 1, width // 8 + 1)).astype(np.uint8)
    targets = targets.repeat(8, 1).repeat(8, 2)[:, :height, :width].copy()
    images = np.clip(targets[:, None] * 60 + random.integers(0, 70, (count, 3, height, width)), 0, 255)
    targets[random.random(targets.shape) < void] = VOID
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(targets)


def fit(task, batches, *, steps, accumulate=1, validation=None, callbacks=(), **options):
    """Trains in double precision on batches as they come, again and again."""
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        precision="64-true",
        max_epochs=-1,
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **{"logger": False, "enable_checkpointing": False, "limit_val_batches": None if validation else 0} | options,
    )
    trainer.fit(task, loader(batches), loader(validation or batches))
    return trainer


def loader(batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


@pytest.fixture
def net(narrow):
    """A small net whose score layers are not zero, which would hide the gradients of everything below."""
    torch.manual_seed(0)
    net = FCN(narrow("squeezenet")(dropout=0.0), CLASSES, 8).double()
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(layer.bias)
    return net


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


# ---- one step, cut up


def recorded(net, reduction, batches, accumulate):
    optimizers = []

    def make_optimizer(net):
        optimizers.append(Recorder(net))
        return optimizers[0], LambdaLR(optimizers[0], schedule_factor("fixed", 1))

    task = SegmentationTask(net, PixelCrossEntropy(reduction), make_optimizer)
    trainer = fit(task, batches, steps=len(batches) // accumulate, accumulate=accumulate)
    return optimizers[0].steps, trainer


def defined_loss(net, reduction, images, targets):
    """The loss of a step in plain words: of all its images at once, void left out."""
    logits, valid = net(images), targets != VOID
    labels = targets.long().where(valid, 0)
    losses = (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]) * valid
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.sum() / valid.sum()
    return (losses.sum((1, 2)) / valid.sum((1, 2))).mean()


def defined_gradients(net, reduction, images, targets):
    return torch.autograd.grad(defined_loss(net, reduction, images, targets), list(net.parameters()))


@pytest.fixture(scope="module")
def uneven():
    """Six images of one size with very different shares of void."""
    parts = [picture(33, 41, seed, void) for seed, void in enumerate((0.0, 0.95, 0.3, 0.6, 0.05, 0.0))]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("parts", [(1, 1, 1, 1, 1, 1), (3, 1, 2), (6,)])
def test_accumulated_gradients_are_those_of_one_big_batch(reduction, parts, net, uneven):
    images, targets = uneven
    expected = defined_gradients(net, reduction, images, targets)
    batches = [batch_of(*pair) for pair in zip(images.split(parts), targets.split(parts), strict=True)]
    [found], _ = recorded(net, reduction, batches, len(parts))
    for ours, theirs in zip(found, expected, strict=True):
        assert difference(ours, theirs) < 1e-12


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_step_starts_counting_anew(reduction, net, uneven):
    images, targets = uneven
    batches = [batch_of(images[i : i + 1], targets[i : i + 1]) for i in range(6)]
    steps, _ = recorded(net, reduction, batches, 3)
    assert len(steps) == 2
    for found, half in zip(steps, (slice(0, 3), slice(3, 6)), strict=True):
        expected = defined_gradients(net, reduction, images[half], targets[half])
        for ours, theirs in zip(found, expected, strict=True):
            assert difference(ours, theirs) < 1e-12


def test_the_normalisations_give_different_gradients(net, uneven):
    gradients = [defined_gradients(net, reduction, *uneven)[0].flatten() for reduction in REDUCTIONS]
    directions = [gradient / gradient.norm() for gradient in gradients]
    assert float((directions[1] - directions[2]).norm()) > 0.01
    assert float(gradients[0].norm() / gradients[1].norm()) > 100


@pytest.mark.parametrize("reduction", ["mean", "image_mean"])
def test_the_logged_loss_is_that_of_the_step(reduction, net, uneven):
    images, targets = uneven
    batches = [batch_of(images[i : i + 2], targets[i : i + 2]) for i in (0, 2, 4)]
    _, trainer = recorded(net, reduction, batches, 3)
    expected = float(defined_loss(net, reduction, images, targets).detach())
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-6)


def test_a_step_learns_from_the_jittered_images(net, uneven):
    images, targets = uneven
    factors = torch.tensor([[0.7, 1.2, 0.9, 0.02], [1.3, 0.8, 1.1, -0.02]], dtype=torch.float64)
    batch = batch_of(images[:2], targets[:2])._replace(jitter=factors)
    [found], _ = recorded(net, "mean", [batch], 1)
    expected = defined_gradients(net, "mean", jittered(images[:2], factors), targets[:2])
    for ours, theirs in zip(found, expected, strict=True):
        assert difference(ours, theirs) < 1e-12


@pytest.mark.parametrize("parts", [(6,), (1, 2, 3)])
@pytest.mark.parametrize("reduction", ["mean", "image_mean"])
def test_small_weights_of_classes_divide_a_step_as_large_ones_do(reduction, parts, net, uneven):
    images, targets = uneven
    found = []
    for scale in (1e-5, 1.0):
        loss = PixelCrossEntropy(reduction, class_weights=[scale * each for each in (1.0, 0.5, 2.0, 1.0)], keep=0.5)
        batches = [batch_of(*pair) for pair in zip(images.split(parts), targets.split(parts), strict=True)]
        chances = torch.arange(6).split(parts)
        batches = [batch._replace(chances=part) for batch, part in zip(batches, chances, strict=True)]
        optimizers = []

        def make_optimizer(net, optimizers=optimizers):
            optimizers.append(Recorder(net))
            return optimizers[0], LambdaLR(optimizers[0], schedule_factor("fixed", 1))

        fit(SegmentationTask(net, loss, make_optimizer), batches, steps=1, accumulate=len(parts))
        found.append(optimizers[0].steps[0])
    for ours, theirs in zip(*found, strict=True):
        assert difference(ours, theirs) < 1e-9


def test_what_lies_in_the_pad_does_not_matter_where_batches_are_padded(net, uneven):
    images, targets = (tensor[:2].clone() for tensor in uneven)
    targets[0, 20:] = VOID
    batch = batch_of(images, targets)._replace(sizes=torch.tensor([[20, 41], [33, 41]]))
    brighter = images.clone()
    brighter[0, :, 20:] = 255
    loss = PixelCrossEntropy("mean")
    for padded, same in ((True, True), (False, False)):
        task = SegmentationTask(net, loss, padded=padded)
        first, second = (task.training_step(batch._replace(images=pixels), 0) for pixels in (images, brighter))
        assert torch.equal(first, second) is same


# ---- heavy learning

LR, MOMENTUM, DECAY, STEPS = 1e-7, 0.99, 5e-4, 20


class Losses(Callback):
    """Keeps the loss of every batch."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_index):
        self.values.append(float(outputs["loss"]))


def plain_heavy_learning(net, batches):
    """The recipe in plain words: summed loss, one image a step, weights lr 1 decay 1, biases lr 2 decay 0."""
    velocity = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    losses = []
    for batch in batches:
        loss = defined_loss(net, "sum", batch.images, batch.targets)
        losses.append(float(loss.detach()))
        slopes = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for (name, parameter), slope in zip(net.named_parameters(), slopes, strict=True):
                bias = name.endswith("bias")
                rate, decay = (2 * LR, 0.0) if bias else (LR, DECAY)
                velocity[name] = MOMENTUM * velocity[name] + rate * (slope + decay * parameter)
                parameter -= velocity[name]
    return losses


def test_heavy_learning_is_the_authors_sgd():
    sizes = [(33, 41), (48, 30), (25, 64), (40, 40)]
    batches = [batch_of(*picture(*sizes[i % 4], seed=i, void=0.1 * (i % 4)), first=i) for i in range(STEPS)]

    def make_optimizer(net):
        optimizer = torch.optim.SGD(
            parameter_groups(net, net.score_layers, lr=LR, weight_decay=DECAY), lr=LR, momentum=MOMENTUM
        )
        return optimizer, LambdaLR(optimizer, schedule_factor("fixed", STEPS))

    torch.manual_seed(0)
    ours = FCN(SqueezeNet(dropout=0.0), CLASSES, 16).double()
    theirs, losses = deepcopy(ours), Losses()
    start = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    fit(SegmentationTask(ours, PixelCrossEntropy("sum"), make_optimizer), batches, steps=STEPS, callbacks=[losses])
    expected = plain_heavy_learning(theirs, batches)
    assert len(losses.values) == STEPS
    np.testing.assert_allclose(losses.values, expected, rtol=1e-9)
    per_pixel = [loss / int((batch.targets != VOID).sum()) for loss, batch in zip(expected, batches, strict=True)]
    assert per_pixel[0] == pytest.approx(np.log(CLASSES))
    assert 0.02 < np.ptp(per_pixel) < 0.5, "the rate moves nothing, or the learning diverges"
    for (name, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert difference(parameter.detach(), other.detach()) < 1e-9
        assert difference(parameter.detach(), start[name]) > 1e-6 if start[name].any() else parameter.any()


# ---- validation and checkpoints


@pytest.fixture
def learning(net):
    """Makes tasks that learn to call everything by one label, and the batches they learn it from."""
    return lambda label, rate=0.1: learning_by(net, label, rate)


def learning_by(net, label, rate):

    def make_optimizer(net):
        optimizer = torch.optim.SGD(parameter_groups(net, net.score_layers, lr=rate, weight_decay=0.0), lr=rate)
        return optimizer, LambdaLR(optimizer, schedule_factor("fixed", 1))

    images, _ = picture(24, 32, seed=0)
    batches = [batch_of(images, torch.full((1, 24, 32), label, dtype=torch.uint8))]
    task = SegmentationTask(net, PixelCrossEntropy("mean"), make_optimizer, {"num_classes": CLASSES})
    return task, batches


def test_the_last_checkpoint_holds_the_last_weights_and_the_best_one_the_best(learning, tmp_path):
    task, batches = learning(label=1)
    validation = [batch_of(batches[0].images, torch.zeros(1, 24, 32, dtype=torch.uint8))]
    validation[0].targets[0, 0] = 1
    fit(
        task,
        batches * 6,
        steps=6,
        validation=validation,
        callbacks=[Checkpoints(tmp_path)],
        plugins=[WholeFiles()],
        val_check_interval=2,
        check_val_every_n_epoch=None,
    )
    assert [found.step for found in task.validations] == [2, 4, 6]
    ious = [found.scores.mean_iu for found in task.validations]
    assert max(ious) == ious[0], "nothing is worse than at first, so this says nothing of last and best"
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    last, best = (read_stage(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("last", "best"))
    assert (last.record["steps"], best.record["steps"]) == (6, 2)
    assert all(torch.equal(last.state[name], value) for name, value in task.model.state_dict().items())
    assert not torch.equal(best.state["score_fr.bias"], last.state["score_fr.bias"])
    assert last.record["num_classes"] == CLASSES


def test_validation_counts_every_image_once(learning):
    task, batches = learning(label=2)
    validation = [batch_of(*picture(20 + 3 * i, 30 + i, seed=i, void=0.2), first=i) for i in range(7)]
    fit(task, batches, steps=1, validation=validation)
    [found] = task.validations
    matrix = np.zeros((CLASSES, CLASSES), int)
    losses = []
    with torch.no_grad():
        for batch in validation:
            guess, truth = task.model.eval()(batch.images).argmax(1), batch.targets
            np.add.at(matrix, (truth[truth != VOID].numpy(), guess[truth != VOID].numpy()), 1)
            losses.append((float(defined_loss(task.model, "sum", *batch[:2])), int((truth != VOID).sum())))
    assert found.num_images == 7
    assert found.confusion == matrix.tolist()
    assert found.step == 1
    assert found.loss == pytest.approx(sum(loss for loss, _ in losses) / sum(count for _, count in losses), rel=1e-9)
    assert found.scores.pixel_acc == pytest.approx(np.trace(matrix) / matrix.sum())


def test_each_validation_counts_from_zero(learning):
    task, batches = learning(label=1, rate=0.0)
    validation = [batch_of(*picture(24, 24, seed=i), first=i) for i in range(3)]
    fit(task, batches * 2, steps=2, validation=validation, val_check_interval=1, check_val_every_n_epoch=None)
    assert len(task.validations) == 2
    assert [found.num_images for found in task.validations] == [3, 3]
    assert task.validations[0].confusion == task.validations[1].confusion


@pytest.mark.parametrize("every", [2, 4])
def test_the_last_weights_are_always_validated(every, learning):
    task, batches = learning(label=1)
    validation = [batch_of(*picture(24, 24, seed=0))]
    fit(task, batches * 5, steps=5, validation=validation, val_check_interval=every, check_val_every_n_epoch=None)
    assert task.validations[-1].step == 5


def test_dropout_is_a_function_of_the_seed_alone(narrow):
    def trained(seed, before):
        torch.manual_seed(1)
        net = FCN(narrow("squeezenet")(dropout=0.5), CLASSES, 16).double()
        task, batches = learning_by(net, 1, 0.1)
        task.seed = seed
        torch.manual_seed(before)
        fit(task, batches * 3, steps=3)
        return net.score_fr.weight

    assert torch.equal(trained(0, before=5), trained(0, before=6))
    assert not torch.equal(trained(0, before=5), trained(1, before=5))


def test_a_task_for_evaluation_has_no_optimiser(net):
    with pytest.raises(RuntimeError, match="built for evaluation"):
        SegmentationTask(net, PixelCrossEntropy()).configure_optimizers()


def test_the_task_scores_pixels_as_its_net_does(net, uneven):
    assert torch.equal(SegmentationTask(net, PixelCrossEntropy())(uneven[0]), net(uneven[0]))
