"""What is not finite never reaches the weights."""

import csv

import pytest
import torch

from fcnseg.guard import Guard, NonFiniteError
from fcnseg.losses import PixelCrossEntropy
from fcnseg.trouble import RunError
from runs import SMALL, trained

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RUN = (*SMALL, "trainer.max_steps=4", "trainer.limit_val_batches=1", "trainer.val_every=2", "trainer.save_steps=1")


class Trainer:
    """What a guard asks of a trainer."""

    world_size, global_step, precision_plugin = 1, 6, None

    def __init__(self, parameter, device_scaler=None):
        self.optimizers = [torch.optim.AdamW([parameter], lr=0.5)]
        if device_scaler:
            self.precision_plugin = type("Half", (), {"scaler": device_scaler})


def parameter_with(*gradient):
    parameter = torch.nn.Parameter(torch.zeros(len(gradient)))
    parameter.grad = torch.tensor(gradient)
    return parameter


BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("bad", BAD)
def test_a_gradient_that_is_not_finite_stops_the_run_with_all_that_helps(bad):
    guard, parameter = Guard(), parameter_with(1.0, bad)
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["2007_000033", "2007_000042"])
    with pytest.raises(NonFiniteError) as error:
        guard.judge(Trainer(parameter), [parameter])
    said = str(error.value)
    assert "of step 7 is not finite (images 2007_000033, 2007_000042; learning rate 0.5)" in said
    assert "loss.reduction=sum" in said
    assert "trainer.on_nonfinite=skip" in said


def test_a_loss_that_is_not_finite_stops_the_run_even_if_its_gradients_are():
    guard, parameter = Guard(), parameter_with(1.0)
    guard.saw(torch.tensor(float("inf")), torch.tensor(1.0), ["a"])
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["b"])
    with pytest.raises(NonFiniteError, match="images a, b"):
        guard.judge(Trainer(parameter), [parameter])


def test_a_finite_step_passes_and_its_norm_is_that_of_all_gradients():
    guard, first, second = Guard(), parameter_with(3.0), parameter_with(0.0, 4.0)
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["a"])
    assert float(guard.judge(Trainer(first), [first, second])) == 5.0
    guard.raise_if_bad(Trainer(first))


def test_a_scaler_of_half_precision_deals_with_gradients_itself():
    guard, parameter = Guard(), parameter_with(float("inf"))
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["a"])
    guard.judge(Trainer(parameter, device_scaler=object()), [parameter])


def test_a_skipped_step_leaves_weights_and_momentum_alone():
    guard, parameter = Guard("skip"), parameter_with(1.0)
    trainer = Trainer(parameter)
    [optimizer] = trainer.optimizers
    optimizer.step()
    before = parameter.detach().clone(), {k: v.clone() for k, v in optimizer.state[parameter].items()}
    parameter.grad = torch.tensor([float("nan")])
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["a"])
    assert guard.judge(trainer, [parameter]).isnan()
    optimizer.step()
    assert guard.skipped == 1
    assert torch.equal(parameter, before[0])
    assert all(torch.equal(optimizer.state[parameter][key], value) for key, value in before[1].items())


def test_what_is_skipped_does_not_count_in_the_curve():
    guard = Guard("skip")
    total, weight = guard.saw(torch.tensor(float("nan")), torch.tensor(9.0), ["a"])
    assert (float(total), float(weight)) == (0.0, 0.0)
    assert guard.saw(torch.tensor(2.0), torch.tensor(9.0), ["a"]) == (2.0, 9.0)


def test_a_gpu_is_not_waited_for_but_no_weight_sees_what_is_not_finite(monkeypatch):
    monkeypatch.setattr(Guard, "_is_known", lambda self, finite: False)
    guard, parameter = Guard(), parameter_with(1.0, float("nan"))
    trainer = Trainer(parameter)
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["a"])
    guard.judge(trainer, [parameter])
    assert parameter.grad.tolist() == [0.0, 0.0]
    trainer.global_step = 7
    parameter.grad = torch.tensor([1.0, 2.0])
    guard.saw(torch.tensor(1.0), torch.tensor(1.0), ["b"])
    guard.judge(trainer, [parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    with pytest.raises(NonFiniteError, match=r"of step 7 is not finite \(images a;"):
        guard.raise_if_bad(trainer)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match=r"trainer\.on_nonfinite must be one of stop, skip, not 'hope'"):
        Guard("hope")


# ---- in a training


@pytest.fixture
def third_is_bad(monkeypatch):
    """Makes the loss of the third training batch not a number."""
    original, seen = PixelCrossEntropy.forward, []

    def forward(self, *arguments):
        loss = original(self, *arguments)
        if torch.is_grad_enabled():
            seen.append(1)
        return loss._replace(total=loss.total * float("nan")) if len(seen) == 3 and torch.is_grad_enabled() else loss

    monkeypatch.setattr(PixelCrossEntropy, "forward", forward)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("every", ["trainer.save_steps=1", "trainer.save_steps=null"])
def test_the_last_finite_checkpoint_stays(tmp_path, monkeypatch, third_is_bad, known, every):
    monkeypatch.setattr(Guard, "_is_known", lambda self, finite: known)
    with pytest.raises(RunError, match="loss or gradient of step 3 is not finite") as error:
        trained(tmp_path, *RUN, every)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    assert str(tmp_path / "checkpoints" / "last.ckpt") in str(error.value)


def test_nothing_is_saved_where_something_else_fails_after_a_step_that_was_not_finite(
    tmp_path, monkeypatch, third_is_bad
):
    """On a GPU nobody knows yet of the bad step when the next batch cannot be read."""
    from fcnseg.data.shapes import Shapes

    original, reads = Shapes.read, []

    def read(self, index):
        reads.append(self.split == "train")
        if sum(reads) > 3 * 2:
            raise ValueError("cannot be read as an image")
        return original(self, index)

    monkeypatch.setattr(Guard, "_is_known", lambda self, finite: False)
    monkeypatch.setattr(Shapes, "read", read)
    with pytest.raises(RunError, match="cannot be read as an image"):
        trained(tmp_path, *RUN, "trainer.save_steps=null", "trainer.log_every=4")
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize("every", [1, 2])
def test_a_training_that_skips_counts_and_ends_with_finite_weights(tmp_path, third_is_bad, every):
    content = trained(tmp_path, *RUN, "trainer.on_nonfinite=skip", f"trainer.log_every={every}")
    assert (content["skipped_steps"], content["steps"]) == (1, 4)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    entries = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert "nan" not in (tmp_path / "metrics.csv").read_text()
    for name in ("train/loss", "train/grad_norm"):
        assert sum(bool(entry[name]) for entry in entries) == (3 if every == 1 else 2)
