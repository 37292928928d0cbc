"""What an experiment's YAML says: its rows, the paper's numbers, and what the paper concludes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fcnseg.config import EXPERIMENTS_DIR

SCORES = {"pixel_acc": "pixel acc.", "mean_acc": "mean acc.", "mean_iu": "mean IU", "fw_iu": "f.w. IU"}
"""Fields of results.json that are fractions, and shown in percent, under the paper's names."""


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Attributes:
        name: of its file, without ending.
        title: of the table.
        rows: {row: overrides}, in the table's order.
        paper: {row: {field: number}}, scores in percent.
        columns: fields of results.json that the table shows.
        command: makes its runs.
        source: where in the paper.
        cost: what it takes to run.
        claim: what the paper concludes.
        against_seconds: whether the loss is drawn against seconds too.
    """

    name: str
    title: str
    rows: dict[str, list[str]]
    paper: dict[str, dict[str, Any]]
    columns: tuple[str, ...]
    command: str
    source: str | None = None
    cost: str | None = None
    claim: str | None = None
    against_seconds: bool = False


def read_experiment(said: str) -> Experiment:
    """Reads an experiment as it is written, without composing it.

    Args:
        said: a YAML file, or the name of one in experiments/.

    Raises:
        FileNotFoundError: there is no such file; names those that there are.
        ValueError: it is no YAML, or no experiment.
    """
    path = find_experiment(said)
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # those of YAML, OmegaConf and the disk have no class in common
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error
    node = content.get("experiment") if isinstance(content, dict) else None
    if not isinstance(node, dict) or not node.get("title"):
        raise ValueError(f"{path} is no experiment: it needs experiment.title, and experiment.rows")
    assert isinstance(content, dict)
    paper = {str(row): dict(numbers) for row, numbers in _mapping(path, node, "paper").items()}
    return Experiment(
        name=path.stem,
        title=str(node["title"]),
        rows={str(row): list(overrides or []) for row, overrides in _mapping(path, node, "rows").items()},
        paper=paper,
        columns=tuple(node.get("columns") or ()) or _given(paper),
        command=_command(path.stem, content.get("defaults")),
        source=node.get("source"),
        cost=node.get("cost"),
        claim=node.get("claim"),
        against_seconds=node.get("figure") == "curves",
    )


def find_experiment(said: str) -> Path:
    """Returns the file that a path or a name means.

    Raises:
        FileNotFoundError: there is none.
    """
    written = Path(said)
    for path in (written, EXPERIMENTS_DIR / written.with_suffix(".yaml").name):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in EXPERIMENTS_DIR.glob("*.yaml")))
    raise FileNotFoundError(f"there is no experiment {said}: give a YAML file, or one of {known}")


def _mapping(path: Path, node: Mapping[Any, Any], key: str) -> Mapping[Any, Any]:
    value = node.get(key) or {}
    if not isinstance(value, Mapping) or (key == "paper" and not all(isinstance(v, Mapping) for v in value.values())):
        raise ValueError(f"{path}: experiment.{key} must say something of each row, as in {{32s: ...}}, not {value!r}")
    return value


def _given(paper: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    given = {field for numbers in paper.values() for field in numbers}
    return tuple(field for field in SCORES if field in given) or tuple(SCORES)


def _command(name: str, defaults: Any) -> str:
    """Says what makes the runs: the command whose primary the experiment extends."""
    primary = next((each for each in defaults or [] if isinstance(each, str) and each != "_self_"), "train")
    return f"python -m fcnseg.{primary} -cn {name}"
