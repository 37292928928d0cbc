"""How time grows with the image, the batch and the output stride, ours beside torchfcn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fcnseg.benchmarks.machine import free_bytes
from fcnseg.benchmarks.nets import DTYPES, OURS, PEER, Setting, entrant, labels
from fcnseg.benchmarks.peers import REMEDY
from fcnseg.benchmarks.tables import FAILED, Rows, controlled, rows
from fcnseg.timing import checked_device, interleaved

CHANNELS, MAPS, BORDER = 64, 4, 200
"""The net's largest maps: channels at full resolution, how many live at once, and the padding on both sides."""


def measure(
    backbone: str,
    side: int,
    sides: tuple[int, ...],
    batches: tuple[int, ...],
    strides: tuple[int, ...],
    precision: str,
    device: str,
    repeat: int,
    peers: Path | None,
) -> dict[str, Any]:
    """Times inference along three lines: FCN-8s over sides and over batches, and one image over strides.

    Args:
        backbone: ours.
        side: of the square images where the side does not vary.
        sides: of the images, at batch 1.
        batches: images a pass.
        strides: of the output, 32, 16 or 8.
        precision: fp32, or bf16 for weights and activations in bfloat16.
        device: cpu or cuda.
        repeat: rounds.
        peers: where torchfcn lies, if it is not installed.

    Raises:
        ValueError: no such backbone, stride or device.
        FileNotFoundError: no torchfcn in ``peers``.
    """
    base = Setting("fcn8s", backbone, (side, side), 1, checked_device(device), peers)
    points = {f"side {each}": replace(base, size=(each, each)) for each in sides}
    points |= {f"batch {each}": replace(base, batch=each) for each in batches}
    points |= {f"stride {each}": replace(base, model=f"fcn{each}s") for each in strides}
    found: Rows = []
    for name, setting in points.items():
        found += [row | {"what": f"{name}: {row['what']}"} for row in point(setting, precision, repeat)]
    return {
        "title": f"Inference, {backbone}, {precision}, {side}x{side} and batch 1 where not said, {repeat} rounds",
        "rows": found,
        "notes": [] if PEER in labels(base, [PEER]) else [REMEDY],
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
