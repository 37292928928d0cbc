"""Curves go to metrics.csv whatever else was asked for."""

import pytest
from lightning.pytorch.loggers import WandbLogger

from fcnseg.config import LoggerConfig
from fcnseg.journal import Journal, Times
from fcnseg.loggers import build_loggers
from fcnseg.resumption import Checkpoints


def test_metrics_are_always_written(tmp_path):
    entries, times = build_loggers(LoggerConfig(), tmp_path, Checkpoints(tmp_path))
    assert isinstance(entries, Journal)
    assert isinstance(times, Times)
    assert (entries.path, times.path) == (tmp_path / "metrics.csv", tmp_path / "times.csv")


@pytest.mark.parametrize(("earlier", "continued"), [(None, {}), ("abc", {"id": "abc", "resume": "allow"})])
def test_wandb_learns_what_belongs_together_and_which_run_goes_on(tmp_path, earlier, continued):
    chosen = LoggerConfig(name="wandb", offline=True, group="t2", job_type="16s", tags=["a", "b"])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.earlier = earlier and {"progress": {"versions": {"WandbLogger": earlier}, "elapsed_s": 0.0}}
    *_, logger = build_loggers(chosen, tmp_path, checkpoints)
    assert isinstance(logger, WandbLogger)
    expected = {"group": "t2", "job_type": "16s", "tags": ["a", "b"], "project": "fcnseg"} | continued
    assert {key: logger._wandb_init[key] for key in expected} == expected
