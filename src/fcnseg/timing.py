"""How long something takes, measured so that ratios hold on a busy machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of several ways to something, round by round.

    Attributes:
        rounds: {label: seconds in every round}.
    """

    rounds: dict[str, list[float]]

    def median(self, label: str) -> float:
        """Returns the median seconds of one way."""
        return statistics.median(self.rounds[label])

    def quartiles(self, label: str) -> tuple[float, float]:
        """Returns the seconds below which a quarter and three quarters of the rounds lie."""
        return _quartiles(self.rounds[label])

    def ratio(self, label: str, base: str) -> float:
        """Returns how many times as long as ``base`` one way takes: the median of the rounds' own ratios."""
        return statistics.median(self._ratios(label, base))

    def ratio_quartiles(self, label: str, base: str) -> tuple[float, float]:
        """Returns the quartiles of the rounds' own ratios."""
        return _quartiles(self._ratios(label, base))

    def _ratios(self, label: str, base: str) -> list[float]:
        return [one / other for one, other in zip(self.rounds[label], self.rounds[base], strict=True)]


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


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


def seconds(run: Callable[[], object], device: str = "cpu") -> float:
    """Times one call, and what it left for the device to do."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def interleaved(ways: Mapping[str, Callable[[], object]], repeat: int, device: str = "cpu") -> Times:
    """Times every way in turn, round after round, so that a disturbance hits them all alike.

    Each round begins one way further than the round before, so that none is always first.

    Args:
        ways: {label: what to run}.
        repeat: rounds that count, after one that does not.
        device: waited for where it works by itself.
    """
    labels = list(ways)
    rounds: dict[str, list[float]] = {label: [] for label in labels}
    for run in ways.values():
        seconds(run, device)
    for index in range(repeat):
        first = index % len(labels)
        for label in labels[first:] + labels[:first]:
            rounds[label].append(seconds(ways[label], device))
    return Times(rounds)


def medians(ways: Mapping[str, Callable[[], object]], repeat: int, device: str = "cpu") -> dict[str, float]:
    """Returns {label: median seconds} of ways that need no gradients; arguments as interleaved."""
    with torch.inference_mode():
        times = interleaved(ways, repeat, device)
    return {label: times.median(label) for label in ways}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
