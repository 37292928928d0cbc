"""Thirty and more trainings killed at random moments, each continued and compared bit for bit: make test-chaos.

Every kill is a SIGKILL to the processes of a real command, at a moment that its seed chooses. FCNSEG_CHAOS=SEED,COUNT
takes other seeds.
"""

import os
import random
import time
from pathlib import Path

import pytest

from runs import SMALL, outcome, unequal
from tiny_voc import write_devkit
from warm import Training, command, finished, steps_of

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FIRST, COUNT = (int(number) for number in os.environ.get("FCNSEG_CHAOS", "0,30").split(","))
TINY = (*SMALL, "trainer.max_steps=8", "trainer.val_every=3", "trainer.log_every=3", "trainer.save_steps=1")
TINY += ("backbone.dropout=0.5", "trainer.limit_val_batches=null", "data.train_count=7")
PHOTOS = ("data=voc2012", "model=fcn16s", "trainer.accelerator=cpu", "trainer.progress=false", "data.workers=0")
PHOTOS += ("trainer.max_steps=8", "trainer.val_every=3", "trainer.log_every=3", "trainer.save_steps=1")
SETTINGS = {
    "plain": (TINY, 1),
    "float64, accumulated": ((*TINY, "trainer.precision=64-true", "trainer.accumulate=2"), 1),
    "two workers, with replacement": ((*TINY, "data.workers=2", "data.replacement=true"), 1),
    "pami_heavy": ((*PHOTOS, "recipe=pami_heavy", "optimizer.lr=1e-10"), 1),
    "cvpr2015": ((*PHOTOS, "recipe=cvpr2015", "optimizer.lr=1e-4", "trainer.accumulate=3"), 1),
    "two processes": ((*TINY, "data.workers=0", "trainer.accumulate=2"), 2),
}
MOMENTS = ("training", "training", "validation", "checkpoint")


def slowed(arguments, output, environment):
    """The command with a pause in the middle of each checkpoint and of each validation, so that a kill can hit them."""
    import fcnseg.checkpoints
    from fcnseg.resumption import Checkpoints

    mark = Path(f"{output}.now")

    def paused(original, what):
        def called(*arguments, **options):
            result = original(*arguments, **options)
            mark.write_text(what)
            time.sleep(0.05)
            mark.write_text("")
            return result

        return called

    write = fcnseg.checkpoints._Watched.write
    Checkpoints.on_validation_batch_start = paused(Checkpoints.on_validation_batch_start, "validation")
    fcnseg.checkpoints._Watched.write = lambda self, data: half(write, self, data, mark)
    command(arguments, output, environment)


def half(write, file, data, mark):
    """Writes half of a piece, waits, and writes the rest."""
    size = len(data) // 2
    if size < 1000:
        return write(file, data)
    write(file, bytes(data)[:size])
    file._file.flush()
    mark.write_text("checkpoint")
    time.sleep(0.01)
    mark.write_text("")
    return size + write(file, bytes(data)[size:])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What each setting leaves when nobody kills it, made at most once."""
    base, known = tmp_path_factory.mktemp("whole"), {}
    devkit = write_devkit(base / "VOCdevkit")

    def of(setting):
        arguments, processes = SETTINGS[setting]
        if arguments[0] == PHOTOS[0]:
            arguments = (*arguments, f"data.root={devkit}")
        if setting not in known:
            finished(base / setting.replace(" ", "_").replace(",", ""), arguments, processes)
            known[setting] = outcome(base / setting.replace(" ", "_").replace(",", ""))
        return known[setting], arguments, processes

    return of


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_a_killed_training_ends_with_the_same_bits(seed, whole, tmp_path, record_property):
    chance = random.Random(seed)
    setting = list(SETTINGS)[seed % len(SETTINGS)]
    moment = MOMENTS[seed // len(SETTINGS) % len(MOMENTS)]
    expected, arguments, processes = whole(setting)
    folder = tmp_path / "run"
    training, killed = Training(folder, arguments, processes, wrapper=slowed), False
    after, mark = chance.randint(1, 6), tmp_path / "run.out.now"
    while training.until(lambda: steps_of(folder) >= after):
        if moment == "training":
            time.sleep(chance.random() * 0.3)
        elif not training.until(lambda: mark.exists() and mark.read_text() == moment):
            break
        killed = any(each.is_alive() for each in training.processes)
        break
    training.kill()
    assert killed, f"it ended before it could be killed: {training.said()}"
    assert not (folder / "results.json").exists()
    reached = steps_of(folder)
    said = finished(folder, arguments, processes)
    print(f"seed {seed}: {setting}, killed in {moment}, continued from step {reached}")
    assert f"continued from step {reached}" in said
    assert unequal(outcome(folder), expected) == []
