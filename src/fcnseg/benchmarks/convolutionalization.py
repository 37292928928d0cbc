"""One pass over a large image against its crops one by one, as the paper counts it.

Paper: Sec. 3.1
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fcnseg.backbones.dense import laid_out
from fcnseg.benchmarks.tables import controlled, rows
from fcnseg.classifier import Classifier, create_classifier
from fcnseg.timing import checked_device, interleaved

SIDE, STEP, CELLS = 227, 32, 10
"""One crop of AlexNet, the distance between neighbouring crops, and the crops along a side of the paper's grid."""

IMAGE_SIDE = 500
"""The paper's image: pooling that rounds up makes it 10x10 outputs, the last of which look 15 pixels beyond it."""

PAPER = "The paper (AlexNet, Caffe on a GPU of 2014): 22 ms for the grid, 1.2 ms for a crop, 5 times faster."
"""What the paper reports."""


def measure(backbone: str, repeat: int, device: str) -> dict[str, Any]:
    """Times one pass over the paper's grid of 10x10 outputs, and its 100 crops.

    Args:
        backbone: a classifier that takes crops of 227 pixels.
        repeat: rounds.
        device: cpu or cuda.

    Raises:
        ValueError: no such backbone or device.
    """
    net = create_classifier(backbone).eval()
    if (net.places(SIDE), net.places(IMAGE_SIDE)) != (1, CELLS):
        raise ValueError(
            f"--backbone {backbone}: a crop of {SIDE} gives {net.places(SIDE)} places a side and an image of "
            f"{IMAGE_SIDE} {net.places(IMAGE_SIDE)}, not 1 and {CELLS}, so they cannot be compared: take caffenet"
        )
    net = laid_out(net.to(checked_device(device)), torch.device(device).type)
    side = SIDE + (CELLS - 1) * STEP
    canvas = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, device=device)
    image = canvas[:, :, :IMAGE_SIDE, :IMAGE_SIDE].contiguous()
    crops = canvas[0].unfold(1, SIDE, STEP).unfold(2, SIDE, STEP).permute(1, 2, 0, 3, 4).reshape(-1, 3, SIDE, SIDE)
    with torch.inference_mode():
        times = interleaved(controlled(ways(net, image, crops)), repeat, device)
    return {
        "title": f"{backbone}, {IMAGE_SIDE}x{IMAGE_SIDE} against {len(crops)} crops of {SIDE}x{SIDE}, {repeat} rounds",
        "rows": rows(times),
        "notes": [PAPER],
        "seconds": times.rounds,
    }


def ways(net: Classifier, image: Tensor, crops: Tensor) -> Mapping[str, Callable[[], object]]:
    """Returns the three ways to 10x10 outputs, and one crop for the scale.

    The outputs agree where no layer's own padding is seen: a crop has borders of its own, the image only one.
    """
    return {
        "the whole image at once": lambda: net(image),
        "one crop": lambda: net(crops[:1]),
        "the crops one by one": lambda: [net(crop[None]) for crop in crops],
        "the crops as one batch": lambda: net(crops),
    }
