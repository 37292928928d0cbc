"""What the README shows of your own images works: its YAML and commands, word for word, on the folder it describes."""

import json
import re
import shlex
from pathlib import Path

import pytest

from runs import run
from toy_folder import CLASSES, write_toy

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Your own images\n")[2].partition("\n## ")[0]
YAML = re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1]
COMMANDS = re.findall(r"^    python -m fcnseg\.(\w+) (.*)$", SECTION, re.MULTILINE)
SHORT = (
    *("trainer.max_steps=2", "trainer.val_every=2", "trainer.accelerator=cpu", "trainer.progress=false"),
    *("data.workers=0", "data.crop=64", "data.batch_size=2"),
)


@pytest.fixture
def place(tmp_path):
    """A folder with toy/ and the YAML where its first line says."""
    write_toy(tmp_path / "toy")
    path = tmp_path / re.match(r"# (\S+\.yaml)", YAML)[1]
    path.parent.mkdir(parents=True)
    path.write_text(YAML)
    return tmp_path


def test_it_takes_ten_lines():
    assert len(COMMANDS) == 2
    assert len(YAML.splitlines()) + len(COMMANDS) <= 10


@pytest.mark.slow
@pytest.mark.parametrize(("module", "arguments"), COMMANDS, ids=[arguments[:20] for _, arguments in COMMANDS])
def test_the_commands_train_on_the_folder(place, module, arguments):
    folder = place / "run"
    done = run(module, *shlex.split(arguments, comments=True), *SHORT, f"hydra.run.dir={folder}", cwd=place)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 2
    assert sum(results["split_counts"].values()) == 12
    assert set(results["per_class_iu"]) == set(CLASSES)
    done = run(
        "evaluate", f"checkpoint={folder}", "trainer.accelerator=cpu", f"hydra.run.dir={place / 'again'}", cwd=place
    )
    assert done.returncode == 0, done.stderr
    again = json.loads((place / "again" / "results.json").read_text())
    assert again["confusion_matrix"] == results["confusion_matrix"]
