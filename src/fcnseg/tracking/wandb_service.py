"""The service behind W&B: whether it answers, and how a run begins and ends whatever it does."""

import http.client
import os
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from fcnseg.notice import warn

PROBE_S = 5.0
"""Seconds that the service has to answer at all."""
INIT_S = 30.0
"""Seconds that it has to begin a run."""
FINISH_S = 600.0
"""Seconds that it has to take what is left at the end, the checkpoint included."""
GIVE_UP_S = 10.0
"""Seconds that a service has at the end which no longer answers."""
FLUSH_S = 1.0
"""Seconds of a run that a kill may cost its local record."""
NOT_SENT = ("WANDB_MODE", "offline", "disabled", "dryrun")


def begin(offline: bool, **options: Any) -> Any:
    """Begins a run of W&B; where the service cannot be had, one that is only recorded in the run folder.

    Args:
        offline: do not try.
        options: those of wandb.init.
    """
    import wandb

    settings = _settings()
    if not offline and os.environ.get(NOT_SENT[0]) not in NOT_SENT[1:]:
        try:
            if (wrong := unreachable(address())) is None:
                return wandb.init(**options, settings=settings)
        except Exception as error:  # a service that refuses, times out or dies has no class of errors in common
            wrong = str(error).splitlines()[0] if str(error) else type(error).__name__
            wandb.teardown()  # of what half began
        folder = Path(options["dir"]) / "wandb"
        warn(f"W&B cannot be had ({wrong}): the run is recorded in {folder}; send it later with wandb sync --append")
    if os.environ.get(NOT_SENT[0]) == "disabled":
        return wandb.init(**options, settings=settings)
    return wandb.init(**options, settings=settings, mode="offline")


def close(status: int) -> None:
    """Ends the run of this process, if there is one, and waits only as long as the service is there.

    Args:
        status: the process's exit status.
    """
    wandb = sys.modules.get("wandb")
    run = getattr(wandb, "run", None)
    if wandb is None or run is None:
        return
    ending = threading.Thread(target=_finish, args=(wandb, status), daemon=True)
    ending.start()
    answers = run.settings._offline or unreachable(address()) is None
    ending.join(FINISH_S + PROBE_S if answers else GIVE_UP_S)
    if ending.is_alive():
        warn(f"W&B does not answer: {run.settings.sync_dir} holds the run; send it later with wandb sync --append")


def _finish(wandb: Any, status: int) -> None:
    try:
        wandb.finish(exit_code=status)
    except Exception as error:
        warn(f"W&B did not take the end of the run: {error}")


def address() -> str:
    """Returns where the service is."""
    import wandb

    return str(wandb.setup().settings.base_url)


def unreachable(base_url: str, timeout: float = PROBE_S) -> str | None:
    """Says what is wrong with a service; None if it answers.

    Args:
        base_url: its address.
        timeout: seconds that it has.
    """
    try:
        asked = urllib.request.Request(f"{base_url.rstrip('/')}/graphql", data=b"{}", method="POST")
        asked.add_header("Content-Type", "application/json")
        urllib.request.urlopen(asked, timeout=timeout).close()
    except urllib.error.HTTPError as error:
        return f"{base_url} answers {error.code}" if error.code >= 500 else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{base_url}: {getattr(error, 'reason', error)}"
    return None


def _settings() -> Any:
    """Returns what differs from W&B's defaults, as far as the installed version knows it."""
    import wandb

    wanted: dict[str, Any] = {
        "init_timeout": INIT_S,
        "login_timeout": INIT_S,
        "finish_timeout": FINISH_S,
        "x_transaction_log_flush_interval": FLUSH_S,
        "disable_git": True,  # its own diff would show secrets; ours is masked
        "disable_code": True,
    }
    return wandb.Settings(**{key: value for key, value in wanted.items() if key in wandb.Settings.model_fields})
