"""What a benchmark ran on, and the most that could be had of it."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fcnseg.timing import seconds

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Instructions that decide how fast matrix products are; without one for bf16 a processor emulates it."""

SIDES = (512, 1024, 2048, 4096, 8192, 16384)
"""Sides of the square matrices whose product is timed, up to the first that takes ENOUGH seconds."""

ENOUGH = {"cpu": 0.1, "cuda": 0.005}
"""Seconds after which a product is long enough to be timed well."""


def described(device: str) -> dict[str, Any]:
    """Returns names and versions of what computes."""
    found: dict[str, Any] = {
        "processor": _cpu_fields().get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "flags": flags(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
    }
    if device.startswith("cuda"):
        found |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": torch.backends.cudnn.allow_tf32,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return found


def flags() -> list[str]:
    """Returns those of FLAGS that the processor has; empty where Linux does not tell."""
    fields = _cpu_fields()
    has = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
    return [flag for flag in FLAGS if flag in has]


def _cpu_fields() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def load() -> list[float]:
    """Returns the machine's load averages over 1, 5 and 15 minutes; other programs' work is in them."""
    return [round(value, 2) for value in os.getloadavg()]


def peak_gflops(dtype: torch.dtype, device: str = "cpu") -> float:
    """Measures the best rate of a large matrix product, in GFLOP/s: what no net can exceed by much.

    Args:
        dtype: that a net computes in. Where products of float32 are faster, as on processors that emulate bfloat16,
            theirs is the peak.
        device: what computes.
    """
    return max(product_gflops(kind, device) for kind in {dtype, torch.float32})


def peaks(dtypes: Mapping[str, torch.dtype], device: str) -> dict[str, float]:
    """Returns {label: peak_gflops} of ways that compute in these types, each type measured once."""
    found = {dtype: peak_gflops(dtype, device) for dtype in dict.fromkeys(dtypes.values())}
    return {label: found[dtype] for label, dtype in dtypes.items()}


def product_gflops(dtype: torch.dtype, device: str = "cpu", repeat: int = 5) -> float:
    """Times the product of two square matrices, large enough to take a while; float32 is never computed in TF32.

    Args:
        dtype: of the matrices.
        device: what computes.
        repeat: products of the largest size, of which the fastest counts.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for side in SIDES:
            left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            taken = min(seconds(partial(torch.mm, left, right), device) for _ in range(repeat))
            if taken >= ENOUGH[torch.device(device).type]:
                break
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * side**3 / taken / 1e9


def free_bytes(device: str) -> float:
    """Returns the memory that could still be taken; infinity where the system does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


@contextmanager
def exact_and_tuned() -> Iterator[None]:
    """Lets a GPU look for its fastest convolutions, and keeps float32 from being computed in TF32."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32 = True, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before
