"""Parameter groups by the authors' rules, and the learning rate over time."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter

SCHEDULES = ("fixed", "poly")
"""What optimizer.schedule may say."""

TRAINED = ("all", "head")
"""What model.train may say."""


def parameter_groups(
    model: nn.Module,
    score_layers: Sequence[nn.Module],
    *,
    lr: float,
    weight_decay: float,
    bias_lr_factor: float = 2.0,
    bias_decay: bool = False,
    bias_rule: str = "all",
    head_lr_factor: float = 1.0,
    train: str = "all",
) -> list[dict[str, Any]]:
    """Sorts the parameters into groups for a torch optimiser, and freezes what is not trained.

    Args:
        model: the net.
        score_layers: its score layers, the head.
        lr: learning rate of weights.
        weight_decay: decay of weights.
        bias_lr_factor: learning rate of biases over that of weights.
        bias_decay: whether biases decay.
        bias_rule: "all" applies the two rules above to every bias, "score" to the score layers' alone and leaves
            the others like weights, as the release's AlexNet.
        head_lr_factor: learning rate of the score layers over that of the rest.
        train: "all", or "head" for the score layers alone (fc6 and fc7 frozen too), the paper's "fixed".

    Returns:
        Groups with params, lr, weight_decay and a name to log them by; fixed upsampling has no parameters.

    Raises:
        ValueError: an unknown choice.

    Paper: Sec. 4.3
    """
    if train not in TRAINED:
        raise ValueError(f"model.train must be one of {', '.join(TRAINED)}, not {train!r}")
    if bias_rule not in ("all", "score"):
        raise ValueError(f"optimizer.bias_rule must be all or score, not {bias_rule!r}")
    head = {id(parameter) for layer in score_layers for parameter in layer.parameters()}
    groups: dict[str, list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        in_head = id(parameter) in head
        parameter.requires_grad_(in_head or train == "all")
        if parameter.requires_grad:
            special = name.endswith("bias") and (in_head or bias_rule == "all")
            groups.setdefault(f"{'head' if in_head else 'base'}_{'biases' if special else 'weights'}", []).append(
                parameter
            )
    return [
        {
            "name": name,
            "params": groups[name],
            "lr": lr * (bias_lr_factor if "biases" in name else 1) * (head_lr_factor if "head" in name else 1),
            "weight_decay": weight_decay if bias_decay or "biases" not in name else 0.0,
        }
        for name in sorted(groups)
    ]


def schedule_factor(schedule: str, steps: int, warmup: int = 0, power: float = 0.9) -> Callable[[int], float]:
    """Returns the learning rate's factor as a function of the step.

    Args:
        schedule: "fixed", or "poly" for (1 - step / steps) ** power.
        steps: length of the training.
        warmup: steps over which the rate first rises linearly.
        power: exponent of "poly".

    Raises:
        ValueError: an unknown schedule, or "poly" without a known end.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"optimizer.schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
    if schedule == "poly" and steps <= 0:
        raise ValueError("optimizer.schedule=poly needs to know the end: set trainer.max_steps")

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / (warmup + 1))
        return rise * (max(0.0, 1 - step / steps) ** power if schedule == "poly" else 1.0)

    return factor
