"""Everything that may be fast on a GPU, each way a row: exact window, torch.compile, layouts, peers."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fcnseg.benchmarks.machine import peak_gflops
from fcnseg.benchmarks.nets import DTYPES, OTHER, OURS, PEER, PEER_LAST, PLAIN, Setting, entrant, labels, targets_of
from fcnseg.benchmarks.peers import REMEDY
from fcnseg.benchmarks.tables import AGAIN, FAILED, PART, Rows, controlled, gflop, rows
from fcnseg.benchmarks.train import step
from fcnseg.timing import interleaved

COMPILED = ", compiled"
"""Ends the label of a way through torch.compile."""

WAYS = (OURS, PLAIN, PEER, PEER_LAST, OTHER, OURS + COMPILED, PLAIN + COMPILED)
"""Those that take long to begin come last, so that a limit of time stops them first."""

GIB = 2**30

Run = Callable[[], object]


@dataclass(frozen=True)
class Started:
    """A way that runs.

    Attributes:
        run: one pass or step.
        facts: its columns beside the times.
        gflop: arithmetic of one call.
    """

    run: Run
    facts: dict[str, Any]
    gflop: float


def measure(setting: Setting, repeat: int, limit: float) -> dict[str, Any]:
    """Times training under autocast to bfloat16, and inference in bfloat16 and float32.

    Args:
        setting: what all nets share; the paper's Table 1 takes 500x500, and its batch is 20.
        repeat: rounds.
        limit: seconds after which no further row is begun.

    Raises:
        ValueError: no such model or backbone.
        FileNotFoundError: no torchfcn in ``setting.peers``.
    """
    present = labels(setting, [label.removesuffix(COMPILED) for label in WAYS])
    wanted = [label for label in WAYS if label.removesuffix(COMPILED) in present]
    deadline = time.monotonic() + limit
    found: Rows = []
    peaks = {precision: peak_gflops(dtype, setting.device) for precision, dtype in DTYPES.items()}
    for phase, precision, start in (
        ("training, autocast", "bf16", trained),
        ("inference, bf16", "bf16", inferring(torch.bfloat16)),
        ("inference, fp32", "fp32", inferring(torch.float32)),
    ):
        found += compared(phase, start, wanted, setting, repeat, peaks[precision], deadline)
    return {
        "title": f"{setting}, {repeat} rounds, cudnn.benchmark, no TF32",
        "rows": found,
        "notes": [f"peak of a matrix product in {name}: {peak:.0f} GFLOP/s" for name, peak in peaks.items()]
        + ([] if PEER in present else [REMEDY]),
        "peaks GFLOP/s": peaks,
    }


def trained(label: str, setting: Setting) -> Run:
    """Builds a net and returns its training step."""
    each = entrant(label.removesuffix(COMPILED), setting)
    return step(each, targets_of(setting), autocast=True, compiled=label.endswith(COMPILED))


def inferring(dtype: torch.dtype) -> Callable[[str, Setting], Run]:
    """Returns what builds a net with weights of this type and returns its forward pass."""

    def start(label: str, setting: Setting) -> Run:
        each = entrant(label.removesuffix(COMPILED), setting, dtype)
        net: Any = torch.compile(each.net.eval()) if label.endswith(COMPILED) else each.net.eval()
        return torch.inference_mode()(lambda: net(each.images))

    return start


def compared(
    phase: str,
    start: Callable[[str, Setting], Run],
    wanted: list[str],
    setting: Setting,
    repeat: int,
    peak: float,
    deadline: float,
) -> Rows:
    """Starts every way and times those that run; the others say in their row why they do not."""
    release()
    ways: dict[str, Started] = {}
    failed: dict[str, str] = {}
    for label in wanted:
        if time.monotonic() > deadline:
            failed[label] = "left out: --limit"
            continue
        try:
            ways[label] = started(label, start, setting, ways)
        except Exception as error:  # a row that fails must not take the others with it, whatever its reason
            said = str(error).partition("\n")[0]
            failed[label] = f"{type(error).__name__}: {said[:120]}"
    found = timed(ways, setting, repeat, peak) if ways else []
    found += [{"what": label, FAILED: reason} for label, reason in failed.items()]
    return [row | {PART: phase} for row in found]


def release() -> None:
    """Gives back what the nets of the phase before held."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def started(
    label: str, start: Callable[[str, Setting], Run], setting: Setting, before: Mapping[str, Started]
) -> Started:
    """Builds a way, runs it twice, and says what it holds at most and how long it takes to begin."""
    on_gpu = setting.device.startswith("cuda")
    held = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    run = start(label, setting)
    if label.endswith(COMPILED):  # its graphs are not counted, but compute what the same net computes without them
        run()
        run()
        same = before.get(label.removesuffix(COMPILED))
        amount = same.gflop if same else float("nan")
    else:
        amount = gflop(run)
    facts: dict[str, Any] = {"to begin, s": time.perf_counter() - begin}
    if on_gpu:
        torch.cuda.synchronize()
        facts["GiB"] = (torch.cuda.max_memory_allocated() - held) / GIB
    return Started(run, facts, amount)


def timed(ways: Mapping[str, Started], setting: Setting, repeat: int, peak: float) -> Rows:
    """Returns rows with rates."""
    arithmetic = {label: each.gflop for label, each in ways.items()}
    times = interleaved(controlled({label: each.run for label, each in ways.items()}), repeat, setting.device)
    return [
        row | {"images/s": 1000 * setting.batch / row["ms"]} | ways[row["what"].removesuffix(AGAIN)].facts
        for row in rows(times, arithmetic, peak)
    ]
