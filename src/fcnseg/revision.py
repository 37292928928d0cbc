"""Which state of the source this is."""

import os
import subprocess
from pathlib import Path
from typing import Any

from fcnseg.secrets import masked

LARGEST_DIFF = 200_000
"""Characters of a diff that are kept."""

SOURCE = (":/", ":(top,exclude)experiments/results")
"""What may differ from the commit: all but what runs leave behind."""


def code_version() -> dict[str, Any]:
    """Returns the commit of the source and whether it has changes; nulls where no repository tracks it."""
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return {"commit": None, "dirty": None}
    changes = _git(here.parent, "status", "--porcelain", "--", *SOURCE)
    return {"commit": _git(here.parent, "rev-parse", "HEAD"), "dirty": bool(changes)}


def code_changes(largest: int = LARGEST_DIFF) -> str | None:
    """Returns how the source's repository differs from its commit, without the values of secret variables.

    Args:
        largest: characters; the rest is left out.

    Returns:
        What ``git diff`` says, files that git does not track left out; None where nothing has changed.
    """
    here = Path(__file__).resolve()
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    root = _git(here.parent, "rev-parse", "--show-toplevel")
    said = _git(Path(root or here.parent), "diff", "HEAD", "--no-color", "--no-ext-diff", "--", *SOURCE)
    if not said:
        return None
    text = masked(said, os.environ)
    return text if len(text) <= largest else f"{text[:largest]}\n... cut off after {largest} characters\n"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        options = {"capture_output": True, "text": True, "errors": "replace", "timeout": 10, "check": True}
        done = subprocess.run(["git", *arguments], cwd=folder, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return None
    return str(done.stdout).strip()
