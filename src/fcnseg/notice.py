"""What the user should know, and what does not stop a run."""

import os

from rich.console import Console
from rich.markup import escape

from fcnseg.secrets import masked


def warn(text: str) -> None:
    """Prints a warning on stderr, without the values of secret variables."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        "[bold yellow]warning:[/]", escape(masked(text, os.environ))
    )
