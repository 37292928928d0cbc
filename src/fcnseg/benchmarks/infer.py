"""Images through the net: ours, ours without the exact window, and the peers."""

from collections.abc import Mapping
from typing import Any

import torch

from fcnseg.benchmarks.machine import peaks
from fcnseg.benchmarks.nets import DTYPES, OTHER, OURS, PEER, PEER_LAST, PLAIN, Entrant, Setting, entrant, labels
from fcnseg.benchmarks.peers import REMEDY
from fcnseg.benchmarks.tables import controlled, difference, gflop, rows
from fcnseg.timing import interleaved

SAME = {"fp32": 1e-3, "bf16": 0.2}
"""How far the logits of two nets may be apart, over the largest: each rounds in its way, bfloat16 at three digits."""

IN_FP32 = ", fp32"
"""Ends the label of torchfcn as its users run it, among nets in bfloat16."""


def measure(setting: Setting, precision: str, repeat: int) -> dict[str, Any]:
    """Times inference.

    Args:
        setting: what all nets share.
        precision: fp32, or bf16 for weights and activations in bfloat16, beside which torchfcn in float32 is timed too.
        repeat: rounds.

    Raises:
        ValueError: no such model or backbone, or the nets do not compute the same.
        FileNotFoundError: no torchfcn in ``setting.peers``.
    """
    present = labels(setting, (OURS, PLAIN, PEER, PEER_LAST, OTHER))
    entrants = [entrant(label, setting, DTYPES[precision]) for label in present]
    ways = {each.label: _pass(each) for each in entrants}
    dtypes = dict.fromkeys(ways, DTYPES[precision])
    if PEER in present and precision != "fp32":
        ways[PEER + IN_FP32] = _pass(entrant(PEER, setting))
        dtypes[PEER + IN_FP32] = torch.float32
    with torch.inference_mode():
        arithmetic = {label: gflop(run) for label, run in ways.items()}
        apart = {
            label: difference(ways[label](), ways[OURS]()) for label in (PLAIN, PEER, PEER + IN_FP32) if label in ways
        }
        check_same(apart, precision)
        times = interleaved(controlled(ways), repeat, setting.device)
    peak = peaks(dtypes, setting.device)
    notes = [f"{label}: its logits differ from ours by {value:.1e} of the largest" for label, value in apart.items()]
    return {
        "title": f"Inference: {setting}, {precision}, {repeat} rounds",
        "rows": rows(times, arithmetic, peak),
        "notes": notes + ([] if PEER in present else [REMEDY]),
        "peak GFLOP/s": peak[OURS],
        "differences": apart,
        "seconds": times.rounds,
    }


def check_same(apart: Mapping[str, float], precision: str) -> None:
    """Refuses to compare nets that compute something else.

    Args:
        apart: {label: difference of its logits from ours, over the largest}.
        precision: fp32 or bf16.

    Raises:
        ValueError: they differ by more than rounding.
    """
    for label, value in apart.items():
        if not value < SAME[precision]:
            raise ValueError(
                f"{label} and ours differ by {value:.1e} of the largest logit, so their times say nothing: one is wrong"
            )


def _pass(entrant: Entrant) -> Any:
    net = entrant.net.eval()
    return lambda: net(entrant.images)
