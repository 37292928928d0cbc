"""One run a folder, one process a run."""

import json
import subprocess
import sys

import pytest

from fcnseg.checkpoints import WholeFiles
from fcnseg.disk import held
from fcnseg.runfolder import check_identity, claimed, refuse_other, write_config
from runs import SMALL, composed, snapshot

HOLD = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
CHECKPOINT = {"progress": {}, "global_step": 4}


@pytest.fixture
def unfinished(tmp_path):
    write_config(tmp_path, composed(*SMALL))
    WholeFiles().save_checkpoint(CHECKPOINT, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path


def claim(folder, *overrides):
    with claimed(folder, composed(*SMALL, *overrides), pytest.fail) as earlier:
        return earlier


def test_an_unfinished_run_of_the_same_configuration_goes_on(unfinished):
    assert claim(unfinished) == CHECKPOINT


@pytest.mark.parametrize(
    "same",
    ["trainer.devices=2", "trainer.num_nodes=2", "data.workers=3", "trainer.log_every=7", "trainer.save_steps=5"],
)
def test_what_does_not_change_the_results_may_differ(unfinished, same):
    assert claim(unfinished, same) == CHECKPOINT


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.max_steps=9", "trainer.max_steps=2 then, 9 now"),
        ("trainer.val_every=2", "trainer.val_every=1 then, 2 now"),
        ("seed=3", "seed=0 then, 3 now"),
        ("data.crop=48", "data.crop=32 then, 48 now"),
    ],
)
def test_another_configuration_is_refused_with_the_keys_that_differ(unfinished, override, said):
    before = snapshot(unfinished)
    with pytest.raises(FileExistsError) as error:
        claim(unfinished, override)
    assert f"holds an unfinished run of another configuration ({said})" in str(error.value)
    assert "hydra.run.dir=DIR" in str(error.value)
    assert snapshot(unfinished) == before


@pytest.mark.parametrize(
    "overrides",
    [
        ("recipe=pami_heavy", "model=fcn32s", "backbone=vgg16", "data=voc2012"),
        ("recipe=cvpr2015", "model=fcn16s", "data=sbd"),
        ("data=folder", "data.classes={background: 0, crack: 255}", "data.scale=[0.5,1.5]"),
        ("trainer.devices=[0,1]", "backbone.mean=[1.5,2,3e-9]", "data.void=[1,2,3]"),
    ],
)
def test_what_is_written_is_what_is_read(tmp_path, overrides):
    write_config(tmp_path, composed(*overrides))
    refuse_other(tmp_path, composed(*overrides))


def test_a_finished_run_is_never_overwritten(unfinished):
    (unfinished / "results.json").write_text(json.dumps({}))
    before = snapshot(unfinished)
    with pytest.raises(FileExistsError, match=r"already holds a finished run: .*hydra\.run\.dir=DIR"):
        claim(unfinished)
    assert snapshot(unfinished) == before


def test_checkpoints_that_nobody_explains_are_left_alone(unfinished):
    (unfinished / "config.yaml").unlink()
    with pytest.raises(FileExistsError, match=r"holds checkpoints, but no config\.yaml"):
        claim(unfinished)


@pytest.mark.parametrize("text", ["", "model: [", "model: 3", "\x00\x01", "seed: 0", "- 1"])
def test_a_config_that_cannot_be_read_is_said_to_be_so(unfinished, text):
    (unfinished / "config.yaml").write_text(text)
    with pytest.raises(FileExistsError, match=r"config\.yaml cannot be read|another configuration"):
        claim(unfinished)


def test_a_free_folder_is_taken_and_the_lock_removed(tmp_path):
    with claimed(tmp_path, composed(*SMALL), pytest.fail) as earlier:
        assert earlier is None
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_one_wins_and_the_other_says_so(unfinished):
    arguments = [sys.executable, "-c", HOLD, str(unfinished / ".lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        with pytest.raises(
            FileExistsError, match=r"another process works in .*: wait for its end, or .*hydra\.run\.dir"
        ):
            claim(unfinished)
        other.kill()
    assert claim(unfinished) == CHECKPOINT  # a killed process lets go


def test_the_lock_of_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"), held(tmp_path / "file" / ".lock", "held"):
        pass


def test_changed_data_are_noticed(tmp_path):
    now = {"data_fingerprint": {"train": "a"}}
    assert check_identity(None, now, tmp_path) == now
    assert check_identity({"progress": {"identity": now}}, now, tmp_path) == now
    with pytest.raises(ValueError, match="the data are not those that"):
        check_identity({"progress": {"identity": {"data_fingerprint": {"train": "b"}}}}, now, tmp_path)
