"""The bare loop and Lightning take the same steps, in turn."""

import logging

import pytest
import torch

from fcnseg import create_model
from fcnseg.benchmarks import overhead
from fcnseg.benchmarks.nets import Setting
from fcnseg.benchmarks.overhead import (
    Turns,
    bare_step,
    batch_of,
    make_optimizer,
    measure,
    prepared,
    quiet,
    trainer,
)
from fcnseg.losses import PixelCrossEntropy
from fcnseg.task import SegmentationTask

SMALL = Setting(backbone="squeezenet", size=(32, 32))


def test_both_are_timed():
    found = measure(Setting(backbone="squeezenet", size=(32, 32)), 2, 1)
    assert [row["what"] for row in found["rows"]] == ["a bare loop", "a bare loop again", "Lightning"]
    assert {len(seconds) for seconds in found["seconds"].values()} == {2}
    assert found["notes"][0].startswith("Lightning adds ")


def test_they_take_the_same_steps(monkeypatch, tmp_path):
    net = create_model("fcn8s", backbone="squeezenet", dropout=0.0)
    monkeypatch.setattr(overhead, "our_net", lambda setting: net)
    bare = prepared(SMALL)
    start = {name: tensor.clone() for name, tensor in bare.state_dict().items()}
    step = bare_step(bare, batch_of(SMALL))
    for _ in range(3):
        step()
    through = create_model("fcn8s", backbone="squeezenet", dropout=0.0)
    through.load_state_dict(start)
    with quiet():
        turns = Turns(lambda: None, batch_of(SMALL), 3, "cpu")
        trainer(tmp_path, 3, 1, "cpu").fit(SegmentationTask(through, PixelCrossEntropy(), make_optimizer), turns)
    moved = bare.get_parameter("score_fr.weight") - start["score_fr.weight"]
    assert moved.abs().max() > 0
    torch.testing.assert_close(through.state_dict(), bare.state_dict(), rtol=1e-6, atol=1e-9)


def test_a_turn_lies_between_giving_a_batch_and_being_asked_for_the_next():
    order = []
    turns = Turns(lambda: order.append("bare"), batch_of(SMALL), 2, "cpu")
    for _ in turns:
        order.append("Lightning")
    assert order == ["Lightning", "bare", "bare", "Lightning", "bare", "bare", "Lightning"]
    assert {label: len(seconds) for label, seconds in turns.spent.items()} == {
        "a bare loop": 2,
        "a bare loop again": 2,
        "Lightning": 2,
    }


def test_silence_ends_with_the_measurement():
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with pytest.raises(ZeroDivisionError), quiet():
        1 / (logger.level - logging.ERROR)
    assert logger.level == before != logging.ERROR
