"""The fast ways compute the convolution, its gradients too, and are taken only where they are faster."""

import copy

import pytest
import torch
from torch.nn import functional

from fcnseg.backbones import backbone_class, convolution
from fcnseg.backbones.convolution import Convolution, Wide, Winograd, convolve, fastest_format, suits_winograd
from fcnseg.fcn import FCN

needs_nnpack = pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="torch was built without NNPACK")


@pytest.fixture
def narrow_processor(monkeypatch):
    """A processor with AVX2 alone, whatever this one has."""
    monkeypatch.setattr(convolution, "NARROW", True)


def error(ours, exact):
    return float(((ours - exact).abs().max() / exact.abs().max()).detach())


@needs_nnpack
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 2), (2, 0)])
@pytest.mark.parametrize(("batch", "biased"), [(1, True), (3, False)])
def test_outputs_and_gradients_are_the_convolutions(padding, batch, biased):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, 16, 13, 21), (24, 16, 3, 3), *([(24,)] if biased else [])]
    ours = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    outputs = Winograd.apply(*(ours if biased else [*ours, None]), padding), functional.conv2d(*exact, padding=padding)
    assert error(outputs[0].double(), outputs[1]) < 2e-5
    weights = torch.randn(outputs[0].shape, generator=generator)
    for output in outputs:
        (output * weights).sum().backward()
    assert max(error(a.grad.double(), b.grad) for a, b in zip(ours, exact, strict=True)) < 2e-5


@needs_nnpack
@pytest.mark.usefixtures("narrow_processor")
def test_it_is_taken_for_many_channels_in_single_precision_alone():
    images, weight = torch.zeros(1, 16, 9, 9), torch.zeros(16, 16, 3, 3)
    assert suits_winograd(images, weight)
    assert not suits_winograd(images[:, :8], weight[:, :8])
    assert not suits_winograd(images.double(), weight.double())
    assert not suits_winograd(images.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits_winograd(images, weight)
    with torch.backends.nnpack.flags(enabled=False):
        assert not suits_winograd(images, weight)


@needs_nnpack
@pytest.mark.usefixtures("narrow_processor")
@pytest.mark.parametrize(
    ("kernel", "options"), [(3, {}), (3, {"stride": 2}), (3, {"groups": 2}), (5, {"padding": 2}), (3, {"padding": 100})]
)
def test_every_convolution_of_the_backbones_is_torchs_to_rounding(kernel, options):
    torch.manual_seed(0)
    ours = Convolution(32, 32, kernel, **options)
    images = torch.randn(2, 32, 17, 11)
    exact = copy.deepcopy(ours).double()
    with torch.backends.nnpack.flags(enabled=False):
        expected = exact(images.double())
    assert error(ours(images).double(), expected) < 2e-5


@needs_nnpack
@pytest.mark.usefixtures("narrow_processor")
def test_a_whole_net_stays_within_the_windows_tolerance():
    torch.manual_seed(0)
    net = FCN(backbone_class("vgg16")("same", dropout=0.0), 3, 8).eval()
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
    images = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    with torch.inference_mode():
        ours = net(images)
        with torch.backends.nnpack.flags(enabled=False):
            direct = net(images)
    assert 0 < error(ours, direct) < 5e-5


@pytest.mark.parametrize(
    ("narrow", "device", "expected"),
    [
        (True, "cpu", torch.contiguous_format),
        (False, "cpu", torch.channels_last),
        (True, "cuda", torch.channels_last),
    ],
)
def test_the_order_of_values_is_that_of_the_fastest_convolutions(narrow, device, expected, monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", narrow)
    assert fastest_format(device) is expected


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups", "wide"),
    [
        (3, 1, (2, 2), 1, True),
        (3, 1, (2, 1), 2, True),
        (1, 1, (1, 0), 1, True),
        (5, 2, (3, 4), 1, True),
        (3, 1, (1, 1), 1, False),
        (7, 2, (3, 3), 1, False),
    ],
)
def test_many_zeros_around_a_map_change_no_gradient(kernel, stride, padding, groups, wide, monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", False)
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 9, 13), (6, 4 // groups, kernel, kernel), (6,)]
    ours = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    outputs = [convolve(*tensors, stride, padding, groups) for tensors in (ours, exact)]
    assert (type(outputs[0].grad_fn).__name__ == "WideBackward") is wide
    weights = torch.randn(outputs[0].shape, generator=generator)
    for output in outputs:
        (output * weights).sum().backward()
    assert max(error(a.grad.double(), b.grad) for a, b in zip(ours, exact, strict=True)) < 1e-6


def test_under_autocast_it_computes_in_half_precision_and_learns_in_single():
    torch.manual_seed(0)
    tensors = [torch.randn(1, 4, 9, 13), torch.randn(6, 4, 3, 3), torch.randn(6)]
    grads = []
    for way in (convolve, lambda *args: functional.conv2d(*args[:5], groups=args[5])):
        each = [tensor.clone().requires_grad_() for tensor in tensors]
        with torch.autocast("cpu", torch.bfloat16):
            output = way(*each, 1, (2, 2), 1)
        assert output.dtype == torch.bfloat16
        output.float().square().sum().backward()
        grads.append([tensor.grad for tensor in each])
    assert all(grad.dtype == torch.float32 for grad in grads[0])
    assert max(error(ours, theirs) for ours, theirs in zip(*grads, strict=True)) < 0.02


@pytest.mark.parametrize("learned", [(True, False, False), (False, True, False), (False, False, True)])
def test_a_wide_convolution_gives_the_gradients_that_are_asked_for(learned):
    tensors = [torch.randn(1, 4, 9, 13), torch.randn(6, 4, 3, 3), torch.randn(6)]
    for tensor, wanted in zip(tensors, learned, strict=True):
        tensor.requires_grad_(wanted)
    Wide.apply(*tensors, 1, (2, 2), 1).sum().backward()
    assert [tensor.grad is not None for tensor in tensors] == list(learned)


def test_without_the_transforms_it_is_torchs_convolution(monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", False)
    images, weight = torch.randn(1, 16, 9, 9), torch.randn(16, 16, 3, 3)
    assert torch.equal(convolve(images, weight, None, 1, (1, 1), 1), functional.conv2d(images, weight, padding=1))
