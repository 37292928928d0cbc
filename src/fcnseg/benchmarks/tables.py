"""Measurements as rows of a table, the first of which the others are compared with."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fcnseg.timing import Times

AGAIN = " again"
"""Ends the label of the control: the first way a second time, whose ratio to the first shows the noise."""

QUARTILES = " quartiles"
"""Ends the name of the column that says how far another one scatters."""

PART, FAILED = "part", "failed"
"""Columns that the table does not show as such: which table a row belongs to, and why it has no numbers."""

Rows = list[dict[str, Any]]
"""{column: number or text} a row."""


def controlled(ways: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """Adds the first way a second time, as a way of its own."""
    first = next(iter(ways))
    return {**ways, first + AGAIN: ways[first]}


def rows(times: Times, gflop: Mapping[str, float] | None = None, peak: float | Mapping[str, float] = 0.0) -> Rows:
    """Returns a row for each way.

    Args:
        times: of ways, the first of which is the base of the ratios.
        gflop: {label: arithmetic of one call}, where it is known.
        peak: measured rate of matrix products in GFLOP/s, or {label: it} where ways compute in different types.
    """
    base = next(iter(times.rounds))
    known = gflop or {}
    peaks = peak if isinstance(peak, Mapping) else dict.fromkeys(times.rounds, peak)
    return [
        _row(label, base, times) | _rates(times.median(label), known, label, peaks.get(label.removesuffix(AGAIN), 0.0))
        for label in times.rounds
    ]


def _row(label: str, base: str, times: Times) -> dict[str, Any]:
    low, high = times.quartiles(label)
    least, most = times.ratio_quartiles(label, base)
    return {
        "what": label,
        "ms": 1000 * times.median(label),
        f"ms{QUARTILES}": [1000 * low, 1000 * high],
        f"times {base}": times.ratio(label, base),
        f"times {base}{QUARTILES}": [least, most],
    }


def _rates(seconds: float, gflop: Mapping[str, float], label: str, peak: float) -> dict[str, Any]:
    if (amount := gflop.get(label.removesuffix(AGAIN))) is None:
        return {}
    rate = amount / seconds
    return {"GFLOP": amount, "GFLOP/s": rate} | ({"of peak": rate / peak} if peak else {})


def gflop(run: Callable[[], object]) -> float:
    """Counts the arithmetic of one call in GFLOP, a multiplication and an addition being two; runs it once before.

    Convolutions and matrix products count, as direct sums whatever computes them. The rest does not, nor what the first
    call keeps for later ones.
    """
    run()
    with FlopCounterMode(display=False, custom_mapping=OWN_OPERATORS) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def _sums(_: Any, weight: Any, *arguments: Any, out_shape: Any = None, **options: Any) -> int:
    """Counts the additions and multiplications of a layer: each value of the result sums over one filter."""
    return int(2 * math.prod(out_shape) * math.prod(weight[1:]))


OWN_OPERATORS = {
    operator: _sums
    for library, name in ((torch.ops.aten, "_nnpack_spatial_convolution"), (torch.ops.mkldnn, "_linear_pointwise"))
    if (operator := getattr(library, name, None)) is not None
}
"""What our layers call on a processor and torch's counter does not know."""


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns max|one - other| / max|other|."""
    return float((one.double() - other.double()).abs().max() / other.double().abs().max())
