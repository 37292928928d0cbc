"""Sweeps of real trainings, from the command line to their folders."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runs import SMALL, main, outcome, run, said, surroundings, unequal

PLAIN = tuple(each for each in SMALL if not each.startswith("trainer.progress"))
STAGES = (
    *PLAIN,
    *(
        "recipe.staged=true",
        "backbone=squeezenet32",
        "trainer.max_steps=6",
        "trainer.val_every=3",
        "trainer.save_steps=1",
    ),
    *("model=fcn32s,fcn16s,fcn8s", "seed=0,1", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"),
)
GLOO = (
    *("data.train_count=8", "trainer.devices=2", "data.batch_size=4"),
    *("optimizer.lr=1e-3,2e-3,4e-3", "optimizer.schedule=fixed", "optimizer.warmup=0"),
)


def results(folder):
    """Returns what each finished job found, by folder."""
    return {path.parent: json.loads(path.read_text()) for path in Path(folder).rglob("results.json")}


def processes(text):
    """Returns the ids of the processes whose command lines hold a text."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if text in line and "ps -eo" not in line]


def sweep(cwd, *overrides, multirun=("-m",)):
    """Starts a sweep and does not wait for it."""
    command = [sys.executable, "-m", "fcnseg.train", *multirun, *overrides]
    return subprocess.Popen(
        command, cwd=cwd, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def long_sweep(cwd, seeds):
    """Starts a sweep of long jobs, and returns it once the first one trains."""
    started = sweep(cwd, *PLAIN, "trainer.max_steps=4000", "trainer.val_every=4000", seeds, "hydra.sweep.dir=sweep")
    limit = time.monotonic() + 120
    while not list(cwd.rglob("metrics.csv")):
        assert time.monotonic() < limit
        time.sleep(0.1)
    return started


# ---- what is refused, and what would run


def test_a_dry_run_says_what_would_run_and_runs_nothing(tmp_path, capsys):
    arguments = [*PLAIN, "model=fcn8s,fcn32s", "seed=3", f"hydra.sweep.dir={tmp_path}", "hydra.launcher.dry_run=true"]
    assert main("train", "-m", *arguments) == 0
    printed = said(capsys.readouterr().out)
    assert "0 of 2 jobs finished" in printed
    assert "model=fcn8s,seed=3_" in printed
    assert "model.output_stride=32 is not to be had from SqueezeNet" in printed
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["row=a,b"], "row=a is no row of this experiment"),
        (["seed=0,1", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs must be at least 1, not 0"),
        (["seed=0,1", "hydra.launcher.gpus=7"], "hydra.launcher.gpus=7, but this machine offers"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(tmp_path, capsys, overrides, message):
    assert main("train", "-m", *PLAIN, *overrides, f"hydra.sweep.dir={tmp_path}") == 1
    assert said(capsys.readouterr().err).startswith(f"error: {message}")


@pytest.mark.parametrize("name", ["t2_skips", pytest.param("pami_heavy", marks=pytest.mark.slow)])
def test_stages_wait_for_each_other_and_rows_have_their_own_folders(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "200")
    tree = (f"data.root={tmp_path}", f"data.sbd_root={tmp_path}", "backbone.weights=none", "hydra.launcher.gpus=0")
    assert main("train", "-cn", name, *tree, f"hydra.sweep.dir={tmp_path}", "hydra.launcher.dry_run=true") == 0
    printed = said(capsys.readouterr().out)
    assert "waiting for job" in printed
    assert printed.count(f"{tmp_path}/row=") == 4


# ---- a failure


@pytest.mark.slow
def test_a_failing_job_costs_its_own_row_alone(tmp_path):
    """The rate that fails is not refused beforehand: its loss becomes infinite while it trains."""
    broken = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1e-3,1e38", "seed=0")
    done = run("train", "-m", *PLAIN, "trainer.max_steps=4", *broken, "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 1
    assert len(results(tmp_path)) == 1
    assert "1 finished, 1 failed" in said(done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
    (record,) = [
        each for path in tmp_path.rglob("job.json") if (each := json.loads(path.read_text()))["state"] == "failed"
    ]
    assert record["exit_status"] == 1
    assert record["error"]


# ---- the same command again


@pytest.mark.slow
def test_a_sweep_killed_with_its_children_ends_as_one_that_was_not(tmp_path):
    """Three stages and two seeds by two workers; everything is killed, and the same command is given again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    done = run("train", "-m", *STAGES, cwd=whole)
    assert done.returncode == 0, done.stdout + done.stderr
    first = sweep(killed, *STAGES)
    limit = time.monotonic() + 300
    while not any(result["model"] == "fcn32s" for result in results(killed).values()):
        assert time.monotonic() < limit, "no job has finished"
        time.sleep(0.05)
    time.sleep(4)
    for pid in [first.pid, *processes(str(killed)), *children_of(first.pid)]:
        with_signal(pid, signal.SIGKILL)
    first.communicate()
    done_before = set(results(killed))
    assert len(done_before) < 6
    again = run("train", "-m", *STAGES, cwd=killed)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "before, at commit" in again.stdout
    folders = {path.relative_to(whole) for path in results(whole)}
    assert folders == {path.relative_to(killed) for path in results(killed)}
    assert len(folders) == 6
    for folder in folders:
        assert unequal(outcome(whole / folder), outcome(killed / folder)) == []


def children_of(pid):
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()[1:]]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def with_signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@pytest.mark.slow
def test_jobs_end_with_their_launcher_and_can_be_continued(tmp_path):
    first = long_sweep(tmp_path, "seed=0")
    jobs = children_of(first.pid)
    first.kill()
    first.communicate()
    limit = time.monotonic() + 60
    while any(pid in processes("fcnseg.train") for pid in jobs):
        assert time.monotonic() < limit, "the job outlives its launcher"
        time.sleep(0.1)
    assert list(tmp_path.rglob("last.ckpt"))


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    first = long_sweep(tmp_path, "seed=0,1")
    first.send_signal(signal.SIGINT)
    printed, _ = first.communicate(timeout=120)
    assert first.returncode == 130
    assert "2 interrupted; the same command goes on" in said(printed)
    assert len(list(tmp_path.rglob("last.ckpt"))) == 1


@pytest.mark.slow
def test_two_launchers_share_a_sweep_and_no_job_runs_twice(tmp_path):
    arguments = (*PLAIN, "seed=0,1,2,3", "hydra.sweep.dir=sweep")
    both = [sweep(tmp_path, *arguments) for _ in range(2)]
    printed = [started.communicate(timeout=400)[0] for started in both]
    assert [started.returncode for started in both] == [0, 0], printed
    assert len(results(tmp_path)) == 4
    for folder in results(tmp_path):
        assert (folder / "console.log").read_text().count("run folder") == 1 + 1  # at its start, and at its end
    assert all("4 finished" in text for text in printed)


# ---- several processes a job


@pytest.mark.slow
def test_jobs_of_two_processes_each_keep_their_own_hyperparameters(tmp_path):
    done = run("train", "-m", *PLAIN, *GLOO, "seed=0", f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(tmp_path)
    assert len(found) == 3
    rates = set()
    for folder in found:
        rate = float(re.fullmatch(r"optimizer\.lr=([\de.-]+),seed=0_\w+", folder.name)[1])
        assert f"lr: {rate}" in (folder / "config.yaml").read_text()
        with (folder / "metrics.csv").open(newline="") as file:
            logged = [
                float(value) for line in csv.DictReader(file) for key, value in line.items() if "lr-" in key and value
            ]
        assert max(logged) == pytest.approx(rate, rel=1e-6)
        assert {path.name for path in folder.iterdir()} >= {"checkpoints", "console.log", "job.json", "metrics.csv"}
        rates.add(rate)
    assert rates == {1e-3, 2e-3, 4e-3}
    # Were a process of another job among them, gradients would be means over different rates' weights.
    assert len({str(each["val_loss"]) for each in found.values()}) == 3
    assert processes(str(tmp_path)) == []


# ---- a primary that says MULTIRUN


@pytest.mark.slow
def test_a_primary_that_sweeps_by_itself_does_not_breed(tmp_path):
    """Rows with spaces, commas and quotes in their overrides, from a folder of the user's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.yaml").write_text(
        "defaults: [train, override hydra/sweeper: rows, _self_]\n"
        'experiment:\n  title: It\'s, "mine"\n'
        "  rows: {a: [trainer.max_steps=1], b: ['logger.project=\"x, y\"', trainer.max_steps=2]}\n"
        "hydra: {mode: MULTIRUN}\n"
    )
    rest = [each for each in PLAIN if not each.startswith("trainer.max_steps")]
    started = sweep(tmp_path, "--config-dir", "mine", "-cn", "table", *rest, "logger.tags=['a b,c']", multirun=())
    most = 0
    while started.poll() is None:
        most = max(most, len(processes("fcnseg.train --config-dir")))
        time.sleep(0.05)
    assert started.returncode == 0, started.stdout.read()
    started.stdout.close()
    assert most <= 2  # the launcher and one job
    found = {each["row"]: each for each in results(tmp_path).values()}
    assert {row: each["steps"] for row, each in found.items()} == {"a": 1, "b": 2}
    assert found["b"]["tags"] == ["a b,c"]
    assert found["b"]["group"] == "table/full"
    assert found["b"]["job_type"] == "b"
    folder = next(path for path, each in results(tmp_path).items() if each["row"] == "b")
    assert "project: x, y" in (folder / "config.yaml").read_text()
