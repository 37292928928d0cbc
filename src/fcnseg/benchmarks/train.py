"""Whole training steps: forward, loss, backward and SGD with momentum, each net as its authors train it."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from fcnseg.benchmarks.machine import peaks
from fcnseg.benchmarks.nets import DTYPES, OURS, PEER, PEER_LAST, PLAIN, Entrant, Setting, entrant, labels, targets_of
from fcnseg.benchmarks.peers import REMEDY, summed_cross_entropy
from fcnseg.benchmarks.tables import controlled, gflop, rows
from fcnseg.fcn import FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups
from fcnseg.shapes import VOID, Targets
from fcnseg.timing import interleaved

LR, MOMENTUM, DECAY = 1e-10, 0.99, 5e-4
"""PAMI's heavy learning, which torchfcn's example follows too."""

AUTOCAST = ", autocast"
"""Ends the label of a step whose weights are float32 and whose arithmetic is bfloat16."""

Step = Callable[[], Tensor]
Forward = Callable[..., Any]


def measure(setting: Setting, precision: str, repeat: int) -> dict[str, Any]:
    """Times training steps; arguments and errors as infer.measure, with autocast and float32 weights for bf16."""
    present = labels(setting, (OURS, PLAIN, PEER, PEER_LAST))
    targets = targets_of(setting)
    ways: dict[str, Step] = {}
    for each in (entrant(label, setting) for label in present):
        if precision == "fp32" or each.label == PEER:
            ways[each.label] = step(each, targets)
        if precision == "bf16":
            ways[each.label + AUTOCAST] = step(each, targets, autocast=True)
    arithmetic = {label: gflop(run) for label, run in ways.items()}
    times = interleaved(controlled(ways), repeat, setting.device)
    peak = peaks({label: DTYPES["bf16" if label.endswith(AUTOCAST) else "fp32"] for label in ways}, setting.device)
    return {
        "title": f"Training step: {setting}, {precision}, {repeat} rounds",
        "rows": rows(times, arithmetic, peak),
        "notes": [] if PEER in present else [REMEDY],
        "peak GFLOP/s": next(iter(peak.values())),
        "seconds": times.rounds,
    }


def step(entrant: Entrant, targets: Targets, autocast: bool = False, compiled: bool = False) -> Step:
    """Returns one step of a net, its optimiser's state being kept between calls.

    Args:
        entrant: net and images.
        targets: [n, h, w], void included.
        autocast: whether the net computes in bfloat16; the loss never does.
        compiled: whether the net goes through torch.compile; the loss never does.

    Returns:
        What takes a step and returns the loss.
    """
    net = entrant.net.train()
    kind = _our_loss if isinstance(net, FCN) else _their_loss
    forward = kind(entrant, targets, torch.compile if compiled else _as_it_is)
    optimizer = torch.optim.SGD(_groups(net), lr=LR, momentum=MOMENTUM, fused=isinstance(net, FCN))
    device = targets.device.type

    def run() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            loss = forward()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return run


def _as_it_is(forward: Forward) -> Forward:
    return forward


def _our_loss(entrant: Entrant, targets: Targets, prepared: Callable[[Forward], Forward]) -> Step:
    net, loss = cast(FCN, entrant.net), PixelCrossEntropy("sum")
    scores = prepared(net.scores)
    return lambda: loss(scores(entrant.images), net.upsample, targets).total


def _their_loss(entrant: Entrant, targets: Targets, prepared: Callable[[Forward], Forward]) -> Step:
    signed, forward = targets.long().masked_fill(targets == VOID, -1), prepared(entrant.net)
    return lambda: summed_cross_entropy(forward(entrant.images), signed)


def _groups(net: nn.Module) -> list[dict[str, Any]]:
    """Sorts parameters: ours by our rules, theirs by the same ones, fixed upsampling left out as torchfcn's does."""
    if isinstance(net, FCN):
        return parameter_groups(net, net.score_layers, lr=LR, weight_decay=DECAY)
    learned = [module for module in net.modules() if not isinstance(module, nn.ConvTranspose2d)]
    named = [pair for module in learned for pair in module.named_parameters(recurse=False)]
    weights = [parameter for name, parameter in named if name != "bias"]
    biases = [parameter for name, parameter in named if name == "bias"]
    return [{"params": weights, "weight_decay": DECAY}, {"params": biases, "lr": 2 * LR, "weight_decay": 0.0}]
