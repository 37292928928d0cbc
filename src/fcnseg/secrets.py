"""Keeps passwords and tokens out of run folders, logs and W&B."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SECRET_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:$|_)", re.IGNORECASE)
"""Names of environment variables whose values nobody should see."""

SHORTEST = 8
"""Values with fewer characters are no secrets, and would be found in any text."""


def check_secrets(config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Refuses a configuration with a secret in it, such as one that a file took by ${oc.env:WANDB_API_KEY}.

    Everything in a configuration is written to config.yaml and into checkpoints, which people share.

    Args:
        config: resolved, as plain containers.
        environment: variables and their values.

    Raises:
        ValueError: names the key and the variable, and never the value.
    """
    secrets = {
        name: value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST
    }
    for key, text in _texts(config, ""):
        for name, secret in secrets.items():
            if secret in text:
                raise ValueError(
                    f"{key} holds the value of the environment variable {name}, and would be written to config.yaml: "
                    "take it out; what needs it reads the variable itself"
                )


def _texts(tree: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, str):
        yield key, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _texts(name, f"{key}.{name}".strip("."))
            yield from _texts(value, f"{key}.{name}".strip("."))
    elif isinstance(tree, Sequence):
        for value in tree:
            yield from _texts(value, key)
