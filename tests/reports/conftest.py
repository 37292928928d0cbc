"""What the tests of reports share: a made-up sweep in every state, and what is read of it."""

import pytest

from sweeps import write_experiment, write_sweep


@pytest.fixture
def experiment(tmp_path):
    from fcnseg.reports.experiment import read_experiment

    path = write_experiment(tmp_path / "t2.yaml", claim="Finer is better.", cost="10 GPU-hours", figure="curves")
    return read_experiment(str(path))


@pytest.fixture
def runs(tmp_path):
    return write_sweep(tmp_path / "multirun" / "t2")


@pytest.fixture
def summary(experiment, runs):
    from fcnseg.reports.summary import summarise

    return summarise(experiment, runs, verdict="Yes: 16s is ahead of 32s.")
