"""Keeps passwords and tokens out of run folders, logs and W&B."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|PWD|CREDENTIALS?|(?:^|_)(?:API)?KEYS?(?:$|_)", re.IGNORECASE)
"""Names of environment variables whose values nobody should see."""

WORKING_DIRECTORIES = ("PWD", "OLDPWD")
"""What every shell sets, and is no password."""

FROM_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*([^},\s]+)")
"""How a configuration asks for a variable."""

SHORTEST = 8
"""Values with fewer characters are no secrets, and would be found in any text."""


def check_secrets(config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Refuses a configuration with a secret in it, such as one that a file took by ${oc.env:WANDB_API_KEY}.

    Everything in a configuration is written to config.yaml and into checkpoints, which people share.

    Args:
        config: as plain containers, resolved or not: what is asked for counts as what is there.
        environment: variables and their values.

    Raises:
        ValueError: names the key and the variable, and never the value.
    """
    secrets = secrets_of(environment)
    for key, text in _texts(config, ""):
        asked = FROM_ENVIRONMENT.findall(text)
        for name, secret in secrets.items():
            if secret in text or name in asked:
                raise ValueError(
                    f"{key} holds the value of the environment variable {name}, and would be written to config.yaml: "
                    "take it out; what needs it reads the variable itself"
                )


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that nobody should see, with their values."""
    named = {name: value for name, value in environment.items() if SECRET_NAME.search(name)}
    return {name: value for name, value in named.items() if len(value) >= SHORTEST and name not in WORKING_DIRECTORIES}


def masked(text: str, environment: Mapping[str, str]) -> str:
    """Puts the names of variables that nobody should see in the place of their values."""
    for name, secret in sorted(secrets_of(environment).items(), key=lambda each: -len(each[1])):
        text = text.replace(secret, f"${name}")
    return text


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
