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


def watched(arguments, output, environment):
    """The command, which notes its steps, and pauses where a kill is to hit it: in validations or in checkpoints."""
    import fcnseg.checkpoints
    from fcnseg.resumption import Checkpoints

    note, moment = Path(f"{output}.now"), environment["MOMENT"]
    validate, write, save = Checkpoints.on_validation_batch_start, fcnseg.checkpoints._Watched.write, Checkpoints._write
    pieces = []

    def pause():
        step = note.read_text()
        note.write_text(f"{step} {moment}")
        time.sleep(0.03)
        note.write_text(step)

    def validating(*arguments, **options):
        validate(*arguments, **options)
        pause()

    def writing(file, data):
        """Writes half of every 25th piece, pauses, and writes the rest."""
        pieces.append(1)
        half = len(data) // 2 if len(pieces) % 25 == 0 else 0
        if half:
            write(file, bytes(data)[:half])
            file._file.flush()
            pause()
        return half + write(file, bytes(data)[half:])

    def saving(self, trainer):
        save(self, trainer)
        note.write_text(str(trainer.global_step))

    note.write_text("0")
    Checkpoints._write = saving
    if moment == "validation":
        Checkpoints.on_validation_batch_start = validating
    if moment == "checkpoint":
        fcnseg.checkpoints._Watched.write = writing
    command(arguments, output, environment)


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
def test_a_killed_training_ends_with_the_same_bits(seed, whole, tmp_path):
    chance = random.Random(seed)
    setting = list(SETTINGS)[seed % len(SETTINGS)]
    moment = MOMENTS[seed // len(SETTINGS) % len(MOMENTS)]
    expected, arguments, processes = whole(setting)
    folder, note = tmp_path / "run", tmp_path / "run.out.now"
    training = Training(folder, arguments, processes, watched, MOMENT=moment)
    after = chance.randint(1, 6)

    def now():
        step, _, doing = note.read_text().partition(" ") if note.exists() else ("", "", "")
        return step.isdigit() and int(step) >= after and (moment == "training" or doing == moment)

    training.until(now)
    if moment == "training":
        time.sleep(chance.random() * 0.3)
    killed = any(each.is_alive() for each in training.processes)
    training.kill()
    assert killed, f"it ended before it could be killed: {training.said()}"
    assert not (folder / "results.json").exists()
    reached = steps_of(folder)
    said = finished(folder, arguments, processes)
    print(f"seed {seed}: {setting}, killed in {moment}, continued from step {reached}")
    assert f"continued from step {reached}" in said
    assert unequal(outcome(folder), expected) == []
