"""hydra/launcher=slurm from the command line, with fake programs: every option arrives, and refusals come first."""

import os

import pytest

from fake_slurm import FakeSlurm
from runs import SMALL, main, said


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return FakeSlurm(tmp_path / "bin")


def sweep(*options):
    return main("train", "-m", *SMALL, "seed=0,1", "hydra/launcher=slurm", "hydra.sweep.dir=table", *options)


def test_a_sweep_is_submitted_with_what_the_command_line_says(fake, tmp_path, capsys):
    options = ["hydra.launcher.partition=gpu", "hydra.launcher.setup=['module load cuda/12, gcc']"]
    assert sweep("hydra.launcher.wait=false", "hydra.launcher.sbatch=['--constraint=a100']", *options) == 0
    assert "2 submitted" in said(capsys.readouterr().out)
    text = next((tmp_path / "table").glob("seed=1_*/slurm.sh")).read_text()
    for line in ("#SBATCH --partition=gpu", "#SBATCH --constraint=a100", "module load cuda/12, gcc"):
        assert f"\n{line}\n" in text
    assert "hydra.mode=RUN" in text
    assert "launcher" not in text.partition("srun")[2].partition("&\n")[0]


@pytest.mark.slow
def test_a_file_of_one_s_own_holds_the_options(fake, tmp_path):
    (tmp_path / "mine" / "hydra" / "launcher").mkdir(parents=True)
    text = "defaults: [slurm]\naccount: lab\nwait: false\n"
    (tmp_path / "mine" / "hydra" / "launcher" / "ours.yaml").write_text(text)
    assert sweep("hydra/launcher=ours", "--config-dir", str(tmp_path / "mine")) == 0
    assert "#SBATCH --account=lab" in next((tmp_path / "table").glob("seed=0_*/slurm.sh")).read_text()


def test_a_wrong_wish_is_refused_before_anything_is_submitted(fake, capsys):
    assert sweep("hydra.launcher.time=2") == 1
    assert "set a longer time, or a shorter delay" in said(capsys.readouterr().err)
    assert fake.calls() == []


@pytest.mark.slow
def test_a_dry_run_submits_nothing(fake, capsys):
    assert sweep("hydra.launcher.dry_run=true") == 0
    assert "seed=1" in capsys.readouterr().out
    assert fake.calls() == []
