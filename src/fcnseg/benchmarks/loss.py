"""From scores at the output stride to the gradient of the loss: ours, and the dense kernel of the other ports."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fcnseg import create_model
from fcnseg.benchmarks.nets import CLASSES, Setting, targets_of
from fcnseg.benchmarks.peers import summed_cross_entropy
from fcnseg.benchmarks.tables import controlled, rows
from fcnseg.fcn import FCN
from fcnseg.geometry import IMAGE, Grid
from fcnseg.losses import PixelCrossEntropy
from fcnseg.shapes import VOID, Features
from fcnseg.timing import interleaved
from fcnseg.upsampling import bilinear_kernel

OURS = "ours"
DENSE = "dense kernel, torch's cross-entropy"
AS_TORCHFCN = "dense kernel and loss as torchfcn's"

Step = Callable[[], Tensor]


def measure(setting: Setting, repeat: int) -> dict[str, Any]:
    """Times upsampling, cropping and loss, forward and backward to the scores.

    The peers upsample as torchfcn does: by a transposed convolution from every class to every class, whose weights are
    zero off the diagonal. torchfcn leaves them out of its optimiser and has their gradient computed all the same.

    Args:
        setting: whose last upsampling is meant, and the images.
        repeat: rounds.

    Raises:
        ValueError: no such model or backbone.
    """
    ways = steps(setting)
    losses = {label: float(step()) for label, step in ways.items()}
    times = interleaved(controlled(ways), repeat, setting.device)
    apart = {label: abs(value / losses[OURS] - 1) for label, value in losses.items() if label != OURS}
    return {
        "title": f"Upsampling and loss, forward and backward: {setting}, {CLASSES} classes, {repeat} rounds",
        "rows": rows(times),
        "notes": [f"{label}: its loss differs from ours by {value:.1e} of it" for label, value in apart.items()],
        "differences": apart,
        "seconds": times.rounds,
    }


def steps(setting: Setting) -> dict[str, Step]:
    """Returns the ways from the same scores to a loss and its gradient, each with scores of its own."""
    net = bare(setting)
    shape, grid = coarse(net, setting)
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(setting.device)
    targets, height, width = targets_of(setting), setting.size[1], setting.size[0]
    signed = targets.long().masked_fill(targets == VOID, -1)
    upsampling = net.get_submodule(f"upsample{grid.stride}")
    kernel, factor = int(upsampling.kernel), int(upsampling.factor)  # type: ignore[arg-type]
    first = grid.upsample(kernel, factor).crop_to(IMAGE)
    weight = torch.zeros(CLASSES, CLASSES, kernel, kernel, device=setting.device)
    weight[range(CLASSES), range(CLASSES)] = bilinear_kernel(kernel).to(setting.device)
    ours = PixelCrossEntropy("sum")

    def upsampled(coarse: Tensor, weight: Tensor) -> Tensor:
        fine = functional.conv_transpose2d(coarse, weight, stride=factor)
        return fine[:, :, first : first + height, first : first + width].contiguous()

    def torch_loss(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets.long(), ignore_index=VOID, reduction="sum")

    learned = weight.clone().requires_grad_()
    return {
        OURS: differentiated(scores, lambda coarse: ours(Features(coarse, grid), net.upsample, targets).total),
        DENSE: differentiated(scores, lambda coarse: torch_loss(upsampled(coarse, weight))),
        AS_TORCHFCN: differentiated(scores, lambda coarse: summed_cross_entropy(upsampled(coarse, learned), signed)),
    }


def differentiated(scores: Tensor, loss: Callable[[Tensor], Tensor]) -> Step:
    """Returns what computes the loss of the scores, and the gradient."""

    def run() -> Tensor:
        value = loss(scores.detach().requires_grad_())
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    return run


def bare(setting: Setting) -> FCN:
    """Builds the net without its weights, on the meta device: its upsampling has none."""
    with torch.device("meta"):
        return create_model(setting.model, backbone=setting.backbone, num_classes=CLASSES)


def coarse(net: FCN, setting: Setting) -> tuple[torch.Size, Grid]:
    """Returns the shape of the scores before the last upsampling, and their grid."""
    count, height, width = setting.shape
    scores = net.scores(torch.empty(count, 3, height, width, dtype=torch.uint8, device="meta"))
    return scores.tensor.shape, scores.grid
