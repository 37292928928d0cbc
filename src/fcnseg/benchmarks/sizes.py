"""Whether memory stays flat while images of ever new sizes pass through a net, in one process."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from fcnseg.benchmarks.memory import INFERENCE, METHODS, MIB, TRAINING, Meter, in_child, method
from fcnseg.benchmarks.nets import OURS, Setting, entrant, images_of, targets_of
from fcnseg.benchmarks.tables import PART, Rows
from fcnseg.fcn import FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups

LEAST = 2 / 3
"""Of a side of the largest image, the least that is drawn."""

GROUPS = 4
"""Into so many groups the sizes are divided, each with its own peak."""

Size = tuple[int, int]


def measure(setting: Setting, sizes: int) -> dict[str, Any]:
    """Measures inference and training steps over many sizes; each group of them begins with the largest.

    Args:
        setting: net, device and largest size.
        sizes: how many different ones.

    Raises:
        ValueError: no such model or backbone.
    """
    groups = drawn(setting.size, sizes)
    found: Rows = []
    for what in (INFERENCE, TRAINING):
        found += [row | {PART: what} for row in in_child(over, what, setting, groups)]
    how = method(setting.device)
    return {
        "title": f"Memory above the net over {sizes} sizes of images: {setting} at most, fp32",
        "rows": found,
        "notes": [METHODS[how], "every group begins with the largest size, the others occur once"],
        "sizes": groups,
        "method": how,
    }


def drawn(largest: Size, count: int) -> list[list[Size]]:
    """Draws different sizes, in groups that each begin with the largest."""
    chance = random.Random(0)
    known: dict[Size, None] = {}
    while len(known) < count:
        width, height = (chance.randint(int(LEAST * side), side) for side in largest)
        known[width, height] = None
    sizes, share = list(known), -(-count // GROUPS)
    return [[largest, *sizes[first : first + share]] for first in range(0, count, share)]


def over(what: str, setting: Setting, groups: list[list[Size]]) -> Rows:
    """Returns a row for each group: its peak, and what is held behind it.

    Args:
        what: INFERENCE or TRAINING.
        setting: what all share.
        groups: of sizes.
    """
    run = inferred(setting) if what == INFERENCE else trained(setting)
    run((32, 32))
    meter, found = Meter(setting.device), []
    for group in groups:
        meter.forget()
        for size in group:
            run(size)
        found.append(
            {"what": f"{len(group)} sizes", "peak MiB": meter.peak() / MIB, "MiB behind it": meter.now() / MIB}
        )
    return found


def inferred(setting: Setting) -> Callable[[Size], object]:
    """Returns what sends an image of a size through the net."""
    net = entrant(OURS, setting).net.eval()
    return torch.inference_mode()(lambda size: net(images_of(replace(setting, size=size))))


def trained(setting: Setting) -> Callable[[Size], object]:
    """Returns what takes a training step over an image of a size."""
    net = entrant(OURS, setting).net.train()
    assert isinstance(net, FCN)
    groups = parameter_groups(net, net.score_layers, lr=1e-10, weight_decay=5e-4)
    optimizer, loss = torch.optim.SGD(groups, lr=1e-10, momentum=0.99, fused=True), PixelCrossEntropy("sum")

    def run(size: Size) -> None:
        here = replace(setting, size=size)
        optimizer.zero_grad()
        loss(net.scores(images_of(here)), net.upsample, targets_of(here)).total.backward()
        optimizer.step()

    return run
