"""What commands without Lightning say when they are refused."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def complained() -> Iterator[None]:
    """Turns what the user can mend into one line and exit status 1; HYDRA_FULL_ERROR=1 shows where it came from."""
    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        from rich.console import Console
        from rich.markup import escape

        Console(stderr=True, soft_wrap=True, highlight=False).print("[bold red]error:[/]", escape(str(error)))
        sys.exit(1)
