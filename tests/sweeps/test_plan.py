"""Which jobs a sweep has, where they go, and which starts from which."""

import pytest
from hydra import compose, initialize_config_dir

from fcnseg.config import CONF_DIR, register
from fcnseg.results import config_hash, labels
from fcnseg.sweeps import plan as module
from fcnseg.sweeps.job import State
from fcnseg.sweeps.plan import Fingerprints, planned

STAGED = ("recipe.staged=true", "backbone=squeezenet32", "data.train_count=6", "data.val_count=2")


@pytest.fixture(scope="module", autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """Where no earlier run can be found."""
    monkeypatch.chdir(tmp_path)


def whole(overrides):
    """Composes as Hydra does for a job, its own part included."""
    config = compose("train", overrides=overrides, return_hydra_config=True)
    config.hydra.job.config_name = "train"
    config.hydra.job.override_dirname = ",".join(overrides)
    return config


def plan(*swept):
    return planned([[*each] for each in swept], whole)


# ---- names and folders


def test_what_tells_the_jobs_apart_names_them():
    jobs = plan(("data.crop=32", "seed=3", "optimizer.lr=1"), ("data.crop=32", "seed=3", "optimizer.lr=2"))
    assert [job.name for job in jobs] == ["seed=3,optimizer.lr=1", "seed=3,optimizer.lr=2"]
    assert [job.folder.parent.as_posix() for job in jobs] == ["multirun/train/full"] * 2
    assert jobs[0].folder.name == f"seed=3,optimizer.lr=1_{jobs[0].config_hash[:8]}"


def test_the_folder_is_the_same_again_and_another_for_another_configuration():
    first, second, third = plan(("seed=3",))[0], plan(("seed=3",))[0], plan(("seed=3", "data.crop=64"))[0]
    assert first.folder == second.folder != third.folder


def test_a_wider_sweep_finds_the_folders_of_a_narrower_one():
    (alone,) = plan(("seed=3", "data.crop=32"))
    alone.folder.mkdir(parents=True)
    assert plan(("seed=3", "data.crop=32"), ("seed=4", "data.crop=32"))[0].folder == alone.folder


def test_a_name_of_any_characters_is_a_folder_of_some():
    (job,) = plan(("data.name='a/b c: \"d\"'",))
    assert job.folder.name == f"data.name=_a_b_c_d__{job.config_hash[:8]}"


def test_a_long_name_is_cut():
    (job,) = plan((f"data.name={'x' * 300}",))
    assert len(job.folder.name) == module.LONGEST_NAME + 9


def test_a_name_of_the_users_own_is_kept():
    (job,) = plan(("hydra.sweep.subdir=mine${hydra.job.num}", "seed=1"))
    assert job.folder.name.startswith("mine0_")


def test_the_same_training_twice_is_refused():
    first, second = plan(("seed=1",), ("seed=1",))
    assert (first.state, second.state, second.note) == (State.WAITING, State.REFUSED, "the same training as job 0")


def test_a_job_that_cannot_work_is_refused_alone():
    first, second = plan(("model=fcn32s",), ("model=fcn8s",))
    assert (first.state, second.state) == (State.REFUSED, State.WAITING)
    assert "model.output_stride=32 is not to be had" in first.note


@pytest.mark.parametrize("bad", ["row=9s", "scale=tiny"])
def test_a_sweep_of_rows_that_are_none_is_no_sweep(bad):
    with pytest.raises(ValueError, match=bad.split("=")[0]):
        plan((bad,))


# ---- stages


def test_each_stage_starts_from_the_one_before_of_its_own_seed():
    nets, seeds = ("fcn8s", "fcn16s", "fcn32s"), (0, 1)
    jobs = plan(*((*STAGED, f"model={net}", f"seed={seed}") for net in nets for seed in seeds))
    assert [job.after and job.after.number for job in jobs] == [2, 3, 4, 5, None, None]
    assert [job.state for job in jobs] == [State.WAITING] * 6
    assert jobs[0].config.init_from == str(jobs[2].folder)
    assert f"init_from='{jobs[2].folder}'" in jobs[0].added


def test_a_stage_without_the_one_before_says_what_makes_it():
    (job,) = plan((*STAGED, "model=fcn16s"))
    assert job.state is State.REFUSED
    assert "First run\n  python -m fcnseg.train model=fcn32s backbone=squeezenet32" in job.note


def test_a_frozen_net_is_nobodys_stage():
    frozen, fine = plan((*STAGED, "model=fcn32s", "model.train=head"), (*STAGED, "model=fcn16s"))
    assert fine.after is None
    assert (frozen.state, fine.state) == (State.WAITING, State.REFUSED)


def test_stages_of_different_lengths_keep_to_their_own():
    nets, steps = ("fcn16s", "fcn32s"), (10, 4000)
    jobs = plan(*((*STAGED, f"model={net}", f"trainer.max_steps={count}") for net in nets for count in steps))
    assert [job.after and job.after.number for job in jobs] == [2, 3, None, None]


def test_a_stage_that_could_start_from_several_jobs_is_refused():
    jobs = plan(
        (*STAGED, "model=fcn16s"), *((*STAGED, "model=fcn32s", f"trainer.max_steps={count}") for count in (1, 2))
    )
    assert jobs[0].state is State.REFUSED
    assert "each of the jobs 1, 2" in jobs[0].note


def test_what_a_job_starts_from_tells_it_from_others():
    for name in ("A", "B"):
        module.Path(name).mkdir()
    jobs = plan(*((*STAGED, "model=fcn16s", f"init_from={name}") for name in ("A", "B")))
    assert jobs[0].config_hash != jobs[1].config_hash
    assert [job.state for job in jobs] == [State.WAITING] * 2


def test_jobs_of_one_hash_are_the_same_training_whatever_is_there():
    swept = [("data.workers=0",), ("data.workers=1",)]
    first = plan(*swept)
    first[0].folder.mkdir(parents=True)
    assert [job.folder for job in plan(*swept)] == [job.folder for job in first]


@pytest.mark.parametrize("gone", ["~model", "~experiment.small=null"])
def test_a_key_that_is_taken_away_is_refused(gone):
    with pytest.raises(ValueError, match="takes a key away, which a sweep cannot"):
        plan((gone, "seed=1"))


def test_a_secret_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "abcdefghijk")
    with pytest.raises(ValueError, match="MY_TOKEN") as error:
        plan(("data.name='${oc.env:MY_TOKEN}'",))
    assert "abcdefghijk" not in str(error.value)


def test_what_was_said_to_start_from_is_taken():
    (tmp := module.Path("mine")).mkdir()
    (job,) = plan((*STAGED, "model=fcn16s", f"init_from={tmp}"))
    assert (job.after, job.state, job.config.init_from) == (None, State.WAITING, "mine")


# ---- what the launcher adds


def test_loggers_learn_what_belongs_together():
    (job,) = plan(("+experiment.rows={a: ['model=fcn16s']}", "row=a", "experiment.title='A, b'", "scale=small"))
    assert labels(job.config) == {
        "group": "train/small",
        "job_type": "a",
        "tags": ["A, b", "fcn16s", "squeezenet32", "modern"],
    }
    assert job.added == ["logger.group='train/small'", "trainer.progress=false"]


def test_what_the_user_says_of_them_stays():
    (job,) = plan(("logger.group=mine", "trainer.progress=true"))
    assert (job.config.logger.group, job.config.trainer.progress) == ("mine", True)
    assert not [each for each in job.added if each.startswith(("logger.group", "trainer.progress"))]


def test_the_hash_is_that_of_the_job_itself():
    (job,) = plan(("seed=1",))
    plain = compose("train", overrides=["seed=1", *job.added])
    assert job.config_hash == config_hash(module.asdict(module.resolved(plain, module.TrainConfig)))


# ---- data


def test_data_are_opened_once_and_compared(monkeypatch):
    opened = []
    monkeypatch.setattr(module, "build_data", opened.append)
    monkeypatch.setattr(module, "fingerprints", lambda data: {"val": "now"})
    jobs, prints = plan(("seed=1",), ("seed=2",)), Fingerprints()
    assert [prints.changed(job, {"data_fingerprint": {"val": "now"}}) for job in jobs] == [False, False]
    assert prints.changed(jobs[0], {"data_fingerprint": {"val": "then"}})
    assert len(opened) == 1


def test_data_that_are_away_count_as_the_same(monkeypatch):
    def away(config):
        raise FileNotFoundError("data.root")

    monkeypatch.setattr(module, "build_data", away)
    assert not Fingerprints().changed(plan(("seed=1",))[0], {"data_fingerprint": {"val": "then"}})
