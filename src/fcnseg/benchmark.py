"""python -m fcnseg.benchmark NAME: times of this machine, as ratios measured in one run."""

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from fcnseg.classifier import Classifier

SIDE, STEP, CELLS = 227, 32, 10
"""One crop of AlexNet, the distance between neighbouring crops, and the crops along a side of the paper's grid."""

IMAGE_SIDE = 500
"""The paper's image: pooling that rounds up makes it 10x10 outputs, the last of which look 15 pixels beyond it."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m fcnseg.benchmark", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    one = names.add_parser("convolutionalization", help="one pass over a large image against its crops (Sec. 3.1)")
    one.add_argument("--backbone", default="caffenet", help="classifier (default caffenet, the paper's AlexNet)")
    one.add_argument("--repeat", type=int, default=5, help="measurements, of which the median counts (default 5)")
    one.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args(arguments)

    from fcnseg.messages import complained

    with complained():
        if chosen.repeat < 1:
            raise ValueError("--repeat must be at least 1")
        convolutionalization(chosen.backbone, chosen.repeat, chosen.device)


def convolutionalization(backbone: str, repeat: int, device: str) -> None:
    """Prints what one pass over the paper's grid of 10x10 outputs costs, and what its 100 crops cost.

    Args:
        backbone: a classifier that takes crops of 227 pixels.
        repeat: measurements.
        device: cpu or cuda.

    Raises:
        ValueError: no such backbone or device.

    Paper: Sec. 3.1
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from fcnseg.classifier import create_classifier
    from fcnseg.timing import checked_device, medians

    net = create_classifier(backbone).eval()
    if (net.places(SIDE), net.places(IMAGE_SIDE)) != (1, CELLS):
        raise ValueError(
            f"--backbone {backbone}: a crop of {SIDE} gives {net.places(SIDE)} places a side and an image of "
            f"{IMAGE_SIDE} {net.places(IMAGE_SIDE)}, not 1 and {CELLS}, so they cannot be compared: take caffenet"
        )
    net = net.to(checked_device(device)).to(memory_format=torch.channels_last)
    side = SIDE + (CELLS - 1) * STEP
    canvas = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, device=device)
    image = canvas[:, :, :IMAGE_SIDE, :IMAGE_SIDE].contiguous()
    crops = canvas[0].unfold(1, SIDE, STEP).unfold(2, SIDE, STEP).permute(1, 2, 0, 3, 4).reshape(-1, 3, SIDE, SIDE)
    times = medians(ways(net, image, crops), repeat, device)
    whole = times["the whole image at once"]
    table = Table(
        title=f"{backbone}, {IMAGE_SIDE}x{IMAGE_SIDE} against {len(crops)} crops of {SIDE}x{SIDE}, {where(device)}"
    )
    for column in ("", "ms", "times the whole image's"):
        table.add_column(column, justify="left" if not column else "right")
    for label, seconds in times.items():
        table.add_row(label, f"{1000 * seconds:.1f}", f"{seconds / whole:.2f}")
    console = Console(highlight=False)
    console.print(table)
    console.print("The paper (AlexNet, Caffe on a GPU of 2014): 22 ms for the grid, 1.2 ms for a crop, 5 times faster.")


def ways(net: "Classifier", image: "Tensor", crops: "Tensor") -> Mapping[str, Callable[[], object]]:
    """Returns the three ways to 10x10 outputs, and one crop for the scale.

    The outputs agree where no layer's own padding is seen: a crop has borders of its own, the image only one.
    """
    return {
        "one crop": lambda: net(crops[:1]),
        "the whole image at once": lambda: net(image),
        "the crops one by one": lambda: [net(crop[None]) for crop in crops],
        "the crops as one batch": lambda: net(crops),
    }


def where(device: str) -> str:
    """Names what computes."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


if __name__ == "__main__":
    main()
