"""Composes every configuration that the installed package carries, and says which.

`make wheel-check` runs this script from a folder outside the repository, with the Python of an environment
that holds the wheel; its argument is the repository, to see that the wheel lacks nothing. It is no test of
pytest: there, the package would be the repository's own.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir

from fcnseg.config import CONF_DIR, EXPERIMENTS_DIR, register

Job = tuple[str, list[str]]  # the name of a configuration, and what is overridden in it


def groups() -> dict[str, list[str]]:
    """Every group of conf/ with its choices, read off the folders."""
    found: dict[str, list[str]] = {}
    for path in sorted(CONF_DIR.rglob("*.yaml")):
        if path.parent != CONF_DIR:
            found.setdefault(path.parent.relative_to(CONF_DIR).as_posix(), []).append(path.stem)
    return found


def jobs() -> Iterator[Job]:
    """Every primary as it is and with each choice of each of its groups, then every experiment."""
    unused = groups()
    for primary in sorted(path.stem for path in CONF_DIR.glob("*.yaml")):
        yield primary, []
        chosen = compose(primary, return_hydra_config=True).hydra.runtime.choices
        for key in chosen:
            group = key.split("@")[0]  # the group may be placed elsewhere: group@package
            unused.pop(group, None)
            yield from ((primary, [f"{key}={choice}"]) for choice in groups().get(group, []))
    if unused:
        raise LookupError(f"no primary configuration of {CONF_DIR} selects from {', '.join(unused)}")
    yield from ((path.stem, []) for path in sorted(EXPERIMENTS_DIR.glob("*.yaml")))


def composes(job: Job) -> bool:
    """Compose one configuration and print how it went."""
    name, overrides = job
    line = " ".join([name, *overrides])
    try:
        compose(name, overrides=overrides)
    except Exception as error:  # one failure must not hide the next
        print(f"FAILED {line}: {error}")
        return False
    print(f"ok     {line}")
    return True


def missing(repository: Path) -> list[str]:
    """The configurations of the repository that the installed package lacks."""
    pairs = [(repository / "conf", CONF_DIR, "**/*.yaml"), (repository / "experiments", EXPERIMENTS_DIR, "*.yaml")]
    return [
        str(path.relative_to(repository))
        for ours, installed, pattern in pairs
        for path in sorted(ours.glob(pattern))
        if not (installed / path.relative_to(ours)).is_file()
    ]


def main() -> int:
    """Compose everything; the exit status is 1 when anything failed."""
    lacking = missing(Path(sys.argv[1]))
    if lacking:
        print(f"FAILED not in the wheel: {', '.join(lacking)}; see tool.hatch.build.targets.wheel in pyproject.toml")
        return 1
    register()
    with initialize_config_dir(str(CONF_DIR), version_base=None):
        results = [composes(job) for job in jobs()]
    print(f"{sum(results)} of {len(results)} configurations compose")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
