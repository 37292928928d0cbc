"""How time grows with the image, the batch and the output stride, ours beside torchfcn."""

from dataclasses import replace
from typing import Any

import torch

from fcnseg.benchmarks.machine import free_bytes
from fcnseg.benchmarks.nets import DTYPES, OURS, PEER, Setting, entrant, labels
from fcnseg.benchmarks.peers import REMEDY
from fcnseg.benchmarks.tables import FAILED, Rows, controlled, rows
from fcnseg.timing import interleaved

CHANNELS, MAPS, BORDER = 64, 4, 200
"""The net's largest maps: channels at full resolution, how many live at once, and the padding on both sides."""


def measure(
    setting: Setting,
    sides: tuple[int, ...],
    batches: tuple[int, ...],
    strides: tuple[int, ...],
    precision: str,
    repeat: int,
) -> dict[str, Any]:
    """Times inference along three lines: over sides, over batches and over strides.

    Args:
        setting: what holds where it is not varied.
        sides: of square images.
        batches: images a pass.
        strides: of the output, 32, 16 or 8.
        precision: fp32, or bf16 for weights and activations in bfloat16.
        repeat: rounds.

    Raises:
        ValueError: no such model or backbone.
        FileNotFoundError: no torchfcn in ``setting.peers``.
    """
    points = {f"side {each}": replace(setting, size=(each, each)) for each in sides}
    points |= {f"batch {each}": replace(setting, batch=each) for each in batches}
    points |= {f"stride {each}": replace(setting, model=f"fcn{each}s") for each in strides}
    found: Rows = []
    for name, each in points.items():
        found += [row | {"what": f"{name}: {row['what']}"} for row in point(each, precision, repeat)]
    return {
        "title": f"Inference: {setting} where not said, {precision}, {repeat} rounds",
        "rows": found,
        "notes": [] if PEER in labels(setting, [PEER]) else [REMEDY],
    }


def point(setting: Setting, precision: str, repeat: int) -> Rows:
    """Measures one setting; what does not fit into the memory is said instead."""
    if (needed := bytes_needed(setting, DTYPES[precision])) > free_bytes(setting.device):
        return [{"what": OURS, FAILED: f"left out, would need about {needed / 2**30:.0f} GiB"}]
    entrants = [entrant(label, setting, DTYPES[precision]) for label in labels(setting, [OURS, PEER])]
    ways = {each.label: lambda each=each: each.net.eval()(each.images) for each in entrants}
    try:
        with torch.inference_mode():
            times = interleaved(controlled(ways), repeat, setting.device)
    except torch.OutOfMemoryError as error:
        return [{"what": OURS, FAILED: str(error).partition(".")[0]}]
    return [row | {"images/s": 1000 * setting.batch / row["ms"]} for row in rows(times)]


def bytes_needed(setting: Setting, dtype: torch.dtype) -> int:
    """Estimates what a pass holds at most: the maps of the first stage of a net padded by 100."""
    width, height = (side + BORDER for side in setting.size)
    return setting.batch * width * height * CHANNELS * MAPS * dtype.itemsize
