"""Jobs that train nothing."""

import json

import pytest

from fcnseg.sweeps.job import Job
from runs import composed


@pytest.fixture
def make_job(tmp_path):
    """Makes jobs whose folders lie side by side."""

    def make(number=0, *overrides, **changes):
        folder = tmp_path / f"job{number}"
        return Job(number, f"seed={number}", (f"seed={number}",), folder, composed(*overrides), "abcd", **changes)

    return make


@pytest.fixture
def finish():
    """Leaves in a job's folder what a finished run leaves."""

    def finish(job, **changes):
        job.folder.mkdir(parents=True, exist_ok=True)
        content = {"config_hash": job.config_hash, "mean_iu": 0.5, "steps": 7, "commit": "0123456789"} | changes
        (job.folder / "results.json").write_text(json.dumps(content))

    return finish
