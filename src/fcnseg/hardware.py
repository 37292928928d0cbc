"""What a run computes on, and how: names of the configuration resolved for this machine."""

from typing import Any

import torch

ACCELERATORS = ("auto", "cpu", "gpu")
"""What trainer.accelerator may say."""

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "16-mixed")
"""What trainer.precision may say."""


def accelerator(name: str) -> str:
    """Resolves "auto": a CUDA GPU if there is one, else the processor; Apple's GPUs lack the float64 that sums need."""
    if name == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    return name


def precision(name: str, on: str) -> Any:
    """Resolves "auto": bf16-mixed on a GPU that computes in it, else 32-true.

    Args:
        name: what trainer.precision says.
        on: the resolved accelerator.
    """
    if name != "auto":
        return name
    return "bf16-mixed" if on == "gpu" and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def settled_precision(name: str, on: str) -> str:
    """Resolves a precision, and has this process's convolutions keep to it.

    In TF32, torch's default for convolutions on a GPU, 32-true would not mean float32.

    Args:
        name: what trainer.precision says.
        on: the resolved accelerator.
    """
    arithmetic = str(precision(name, on))
    torch.backends.cudnn.allow_tf32 = arithmetic != "32-true"
    return arithmetic


def is_compiled(chosen: bool | None, on: str, batching: str) -> bool:
    """Resolves null: the training's forward pass is compiled on a GPU, where crops have one size.

    Args:
        chosen: what trainer.compile says.
        on: the resolved accelerator.
        batching: how images become batches.
    """
    return on == "gpu" and batching == "crop" if chosen is None else chosen
