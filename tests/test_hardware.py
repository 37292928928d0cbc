"""Names of the configuration are resolved for the machine that is there."""

import pytest
import torch

from fcnseg import hardware


@pytest.mark.parametrize(
    ("name", "accelerator", "capable", "expected"),
    [
        ("auto", "gpu", True, "bf16-mixed"),
        ("auto", "cpu", True, "32-true"),
        ("auto", "gpu", False, "32-true"),
        ("16-mixed", "cpu", True, "16-mixed"),
        ("32-true", "gpu", True, "32-true"),
    ],
)
def test_auto_precision_is_bf16_where_the_gpu_to_be_used_has_it(monkeypatch, name, accelerator, capable, expected):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: capable and not including_emulation
    )
    assert hardware.precision(name, accelerator) == expected


@pytest.mark.parametrize(("there", "expected"), [(True, "gpu"), (False, "cpu")])
def test_auto_accelerator_is_a_cuda_gpu_or_the_processor(monkeypatch, there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert hardware.accelerator("auto") == expected
    assert hardware.accelerator("cpu") == "cpu"


@pytest.mark.parametrize(
    ("chosen", "on", "batching", "expected"),
    [
        (None, "gpu", "crop", True),
        (None, "gpu", "whole", False),
        (None, "cpu", "crop", False),
        (True, "cpu", "whole", True),
        (False, "gpu", "crop", False),
    ],
)
def test_the_forward_pass_is_compiled_where_it_pays_unless_said_otherwise(chosen, on, batching, expected):
    assert hardware.is_compiled(chosen, on, batching) is expected
