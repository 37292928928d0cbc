"""The machine is described as it is, and its peak is that of matrix products."""

import torch

from fcnseg.benchmarks import machine


def test_the_description_names_processor_threads_and_versions():
    found = machine.described("cpu")
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["processor"]
    assert "gpu" not in found


def test_flags_are_those_that_matter(monkeypatch):
    text = (
        "processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu avx2 amx_bf16 sse\n\nprocessor\t: 1\nflags\t: avx512f\n"
    )
    monkeypatch.setattr(machine.Path, "read_text", lambda path: text)
    assert machine.flags() == ["avx2", "amx_bf16"]
    assert machine.described("cpu")["processor"] == "Fast One"


def test_the_product_grows_until_it_takes_long_enough(monkeypatch):
    monkeypatch.setattr(machine, "SIDES", (8, 16, 32, 64))
    taken = iter([0.01] * 3 + [0.02] * 3 + [0.5, 0.4, 0.6])
    monkeypatch.setattr(machine, "seconds", lambda run, device: run() is None or next(taken))
    assert machine.product_gflops(torch.float32, "cpu", 3) == 2 * 32**3 / 0.4 / 1e9
    assert next(taken, None) is None


def test_emulated_arithmetic_does_not_set_the_peak(monkeypatch):
    rates = {torch.float32: 100.0, torch.bfloat16: 3.0, torch.float16: 200.0}
    monkeypatch.setattr(machine, "product_gflops", lambda dtype, device: rates[dtype])
    assert [machine.peak_gflops(dtype) for dtype in rates] == [100, 100, 200]


def test_float32_is_exact_and_settings_come_back():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    with machine.exact_and_tuned():
        assert (cudnn.benchmark, cudnn.allow_tf32) == (True, False)
    assert machine.product_gflops(torch.float32, repeat=1) > 0
    assert (cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


def test_load_and_memory_are_numbers():
    assert len(machine.load()) == 3
    assert machine.free_bytes("cpu") > 2**20
