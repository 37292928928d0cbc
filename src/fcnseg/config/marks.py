"""How the schemas mark the keys that a recipe or a data set decides."""

from dataclasses import field
from typing import Any

from omegaconf import II


def pinned(key: str) -> Any:
    """Marks a value that the recipe decides, under the same name below recipe.settings."""
    return II(f"recipe.settings.{key}")


def of_set() -> Any:
    """Marks a key that some data sets need and others do not know: an argument of their open_split."""
    return field(default=None, metadata={"of_set": True})
