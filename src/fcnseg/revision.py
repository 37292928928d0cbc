"""Which state of the source this is."""

import subprocess
from pathlib import Path
from typing import Any


def code_version() -> dict[str, Any]:
    """Returns the commit of the source and whether it has changes; nulls where no repository tracks it."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return {"commit": None, "dirty": None}
    return {"commit": _git(here.parent, "rev-parse", "HEAD"), "dirty": bool(_git(here.parent, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
