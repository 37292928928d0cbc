"""How long something takes, measured so that ratios hold on a busy machine."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def checked_device(name: str) -> str:
    """Returns the name of a device that is here.

    Raises:
        ValueError: it is not.
    """
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise ValueError(f"--device {name} is no device: give cpu or cuda") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: there is no CUDA GPU here; leave --device out")
    return name


def medians(ways: Mapping[str, Callable[[], object]], repeat: int, device: str = "cpu") -> dict[str, float]:
    """Times every way in turn, round after round, so that a disturbance hits them all alike.

    Args:
        ways: {label: what to run}.
        repeat: rounds that count, after one that does not.
        device: waited for where it works by itself.

    Returns:
        {label: median seconds}.
    """
    times: dict[str, list[float]] = {label: [] for label in ways}
    with torch.inference_mode():
        for _ in range(repeat + 1):
            for label, run in ways.items():
                start = time.perf_counter()
                run()
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                times[label].append(time.perf_counter() - start)
    return {label: statistics.median(seconds[1:]) for label, seconds in times.items()}
