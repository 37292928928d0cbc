"""python -m fcnseg.describe: the structural rows of the paper's Table 1, from the code, without training."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from fcnseg.fcn import Description

PAPER = ("caffenet", "vgg16", "bvlc_googlenet")
"""The table's three backbones: AlexNet, VGG 16 and GoogLeNet."""


@dataclass(frozen=True)
class Measured:
    """A backbone's FCN-32s, or its coarsest form, described and timed.

    Attributes:
        backbone: its name.
        description: derived from the layers.
        forward_ms: median time of one image, in milliseconds; None if it was not measured.
    """

    backbone: str
    description: "Description"
    forward_ms: float | None


def main(arguments: list[str] | None = None) -> None:
    """Prints the table for the backbones named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m fcnseg.describe", description=__doc__)
    parser.add_argument("backbones", nargs="*", default=PAPER, help=f"default: {', '.join(PAPER)}")
    parser.add_argument("--side", type=int, default=500, help="side of the image for the forward time (default 500)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of the forward time; 0 leaves it out")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args(arguments)

    from rich.console import Console

    from fcnseg.messages import complained

    with complained():
        if chosen.side < 1 or chosen.repeat < 0:
            raise ValueError("--side must be at least 1 and --repeat at least 0")
        found = [measure(name, chosen.side, chosen.repeat, chosen.device) for name in chosen.backbones]
        console = Console(highlight=False)
        console.print(table(found, paper(), chosen))
        for note in notes(found):
            console.print(note, soft_wrap=True)


def measure(name: str, side: int, repeat: int, device: str = "cpu") -> Measured:
    """Describes a backbone's coarsest FCN and times it on one image.

    Args:
        name: a module of fcnseg.backbones.
        side: of the square image, pixels.
        repeat: measurements, after one that does not count; 0 leaves the weights on the meta device.
        device: where to compute.

    Raises:
        ValueError: no such backbone, or no such device here.
    """
    import torch

    from fcnseg.backbones import backbone_class
    from fcnseg.backbones.dense import laid_out
    from fcnseg.fcn import FCN
    from fcnseg.timing import checked_device, medians

    checked_device(device)
    with torch.device("meta"):
        net = FCN(backbone_class(name)(), 21, max(backbone_class(name)().grids)).eval()
    description = net.describe()
    if not repeat:
        return Measured(name, description, None)
    net = laid_out(net.to_empty(device=device), torch.device(device).type)
    for tensor in net.state_dict().values():
        torch.nn.init.constant_(tensor, 0.01)
    net.backbone.normalize_with(net.backbone.normalization)
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)
    return Measured(name, description, 1000 * medians({"": lambda: net(image)}, repeat, device)[""])


def paper() -> dict[str, dict[str, Any]]:
    """Returns the paper's numbers from experiments/t1_backbones.yaml."""
    from omegaconf import OmegaConf

    from fcnseg.config import EXPERIMENTS_DIR

    content = OmegaConf.to_container(OmegaConf.load(EXPERIMENTS_DIR / "t1_backbones.yaml"))
    assert isinstance(content, dict)
    numbers: dict[str, dict[str, Any]] = content["experiment"]["paper"]
    return numbers


def table(found: list[Measured], numbers: dict[str, dict[str, Any]], chosen: argparse.Namespace) -> "Table":
    """Lays ours beside the paper's, one column pair a backbone."""
    from rich.table import Table

    laid = Table(title=f"Table 1: ours | the paper's (forward time: {chosen.side}x{chosen.side} on {chosen.device})")
    laid.add_column("")
    for one in found:
        laid.add_column(one.backbone, justify="right")
    for label, key in (
        ("forward time, ms", "forward_ms"),
        ("conv. layers", "conv_layers"),
        ("parameters, millions", "parameters"),
        ("rf size", "receptive_field"),
        ("max stride", "max_stride"),
    ):
        laid.add_row(label, *(_pair(ours(one, key), numbers.get(one.backbone, {}).get(key)) for one in found))
    return laid


def ours(one: Measured, key: str) -> str:
    """Returns our number in the table's unit; a receptive field with and without the classifier's pooling."""
    description = one.description
    if key == "forward_ms":
        return "-" if one.forward_ms is None else f"{one.forward_ms:.0f}"
    if key == "parameters":
        return f"{description.parameters / 1e6:.1f}"
    if key == "receptive_field" and description.classifier_field != description.receptive_field:
        return f"{description.classifier_field} ({description.receptive_field} in the FCN)"
    return str(getattr(description, key))


def _pair(mine: str, theirs: float | None) -> str:
    return mine if theirs is None else f"{mine} | {theirs:g}"


def notes(found: list[Measured]) -> list[str]:
    """Says what the numbers do not say by themselves."""
    names = {one.backbone for one in found}
    said = ["The paper measured its forward times on a K40c."] if any(one.forward_ms for one in found) else []
    if any(one.description.classifier_field != one.description.receptive_field for one in found):
        said.append("rf size counts the classifier's average pooling, as the paper's 907 does; an FCN has none.")
    if "googlenet" in names:
        said.append(
            "googlenet is torchvision's, with batch normalisation and 3x3 in place of 5x5: not the paper's net, which "
            "is bvlc_googlenet."
        )
    if "alexnet" in names:
        said.append("alexnet is torchvision's: not the paper's net, which is caffenet.")
    return said


if __name__ == "__main__":
    main()
