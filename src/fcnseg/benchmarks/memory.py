"""The most memory that a pass or a training step takes on top of the net, each in a process of its own."""

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from fcnseg.benchmarks import loss, train
from fcnseg.benchmarks.nets import OURS, PEER, PLAIN, Setting, entrant, labels, targets_of
from fcnseg.benchmarks.peers import REMEDY
from fcnseg.benchmarks.tables import AGAIN, FAILED, PART, Rows

INFERENCE, TRAINING, LOSS = "inference", "training step", "upsampling and loss"

MIB = 2**20

T = TypeVar("T")


def measure(setting: Setting) -> dict[str, Any]:
    """Measures the peak of inference, of a training step (gradients and momentum included) and of the loss alone.

    Args:
        setting: what all nets share.

    Raises:
        ValueError: no such model or backbone.
        FileNotFoundError: no torchfcn in ``setting.peers``.
    """
    present = labels(setting, (OURS, PLAIN, PEER))
    found: Rows = []
    for what in (INFERENCE, TRAINING):
        found += _compared(what, [*present, OURS + AGAIN], setting)
    found += _compared(LOSS, [loss.OURS, loss.DENSE, loss.AS_TORCHFCN], setting)
    return {
        "title": f"Peak memory above the net: {setting}, fp32",
        "rows": found,
        "notes": [METHODS[method(setting.device)]] + ([] if PEER in present else [REMEDY]),
        "method": method(setting.device),
    }


METHODS = {
    "max_memory_allocated": "measured by CUDA's allocator in torch: max_memory_allocated",
    "VmHWM": "measured as VmHWM, set back through clear_refs once the net was built and had seen a small image",
    "ru_maxrss": "measured as growth of ru_maxrss, which cannot be set back here: a lower bound",
}
"""How a peak is measured, best first."""


def method(device: str) -> str:
    """Returns which of METHODS works here, and forgets the peak so far."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return "max_memory_allocated"
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return "ru_maxrss"
    return "VmHWM"


def _compared(what: str, present: list[str], setting: Setting) -> Rows:
    found: Rows = []
    for label in present:
        row: dict[str, Any] = {"what": label, PART: what}
        try:
            row["MiB"] = in_child(peak, label.removesuffix(AGAIN), what, setting) / MIB
        except RuntimeError as error:
            row[FAILED] = why(error)
        base = found[0] if found else row
        if "MiB" in row and "MiB" in base:
            row["times ours"] = row["MiB"] / base["MiB"]
        found.append(row)
    return found


def why(error: RuntimeError) -> str:
    """Says why a process in which memory was measured gave none: it was killed, or an allocator refused."""
    if isinstance(error, BrokenProcessPool):
        return "its process was killed, probably for want of memory"
    return str(error).partition("\n")[0]


def in_child(measured: Callable[..., T], *arguments: Any) -> T:
    """Calls a function in a fresh process, with as many threads as this one, and returns its result.

    Raises:
        BrokenProcessPool: the process was killed.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_with_threads, torch.get_num_threads(), measured, *arguments).result()


def _with_threads(threads: int, measured: Callable[..., T], *arguments: Any) -> T:
    torch.set_num_threads(threads)
    return measured(*arguments)


def peak(label: str, what: str, setting: Setting) -> int:
    """Builds, warms up on a small image, and returns the bytes that two runs take at most above what is there then.

    Two, because the first training step makes what the second one finds: the momentum.

    Args:
        label: of the net, or of the way to the loss.
        what: INFERENCE, TRAINING or LOSS.
        setting: what all share.
    """
    run = _prepared(label, what, setting)
    meter = Meter(setting.device)
    for _ in range(2):
        run()
    return meter.peak()


class Meter:
    """Tells the bytes above those that were there when it began."""

    def __init__(self, device: str) -> None:
        """Begins.

        Args:
            device: whose memory is meant.
        """
        self.device = device
        self._read = READ[method(device)]
        self._base = self._read.now()

    def forget(self) -> None:
        """Forgets the peak so far."""
        method(self.device)

    def now(self) -> int:
        """Returns what is held now."""
        return self._read.now() - self._base

    def peak(self) -> int:
        """Returns what was held at most, since it was last forgotten."""
        return self._read.peak() - self._base


def _prepared(label: str, what: str, setting: Setting) -> Any:
    if what == LOSS:
        return loss.steps(setting)[label]
    each = entrant(label, setting)
    tiny = each.images[:, :, :32, :32]
    if what == INFERENCE:
        each.net.eval()
        with torch.inference_mode():
            each.net(tiny)
        return torch.inference_mode()(lambda: each.net(each.images))
    each.net(tiny).sum().backward()
    each.net.zero_grad()
    return train.step(each, targets_of(setting))


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _largest() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Read(NamedTuple):
    """What tells the bytes of this process.

    Attributes:
        now: those that it holds.
        peak: those that it held at most.
    """

    now: Callable[[], int]
    peak: Callable[[], int]


READ = {
    "max_memory_allocated": Read(torch.cuda.memory_allocated, torch.cuda.max_memory_allocated),
    "VmHWM": Read(partial(_status, "VmRSS"), partial(_status, "VmHWM")),
    "ru_maxrss": Read(_largest, _largest),
}
"""How each of METHODS reads."""
