"""The matrix product computes the convolution."""

import pytest
import torch

from fcnseg.backbones import convolution
from fcnseg.backbones.convolution import Convolution
from fcnseg.backbones.dense import DenseConv2d, laid_out, taken_last, takes_onednn


@pytest.mark.parametrize(("kernel", "padding"), [(7, 0), (7, 3), (6, 3), (1, 0)])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_the_convolutions(kernel, padding, format):
    torch.manual_seed(0)
    dense = DenseConv2d(5, 6, kernel, padding=padding).double()
    plain = torch.nn.Conv2d(5, 6, kernel, padding=padding).double()
    plain.load_state_dict(dense.state_dict())
    inputs = [torch.randn(2, 5, 9, 12).double().contiguous(memory_format=format).requires_grad_() for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    outputs = dense(inputs[0]), plain(inputs[1])
    torch.testing.assert_close(*outputs)
    weights = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(dense.weight.grad, plain.weight.grad)
    torch.testing.assert_close(dense.bias.grad, plain.bias.grad)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_weights_lie_as_the_device_computes_fastest(device, monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", False)
    net = laid_out(torch.nn.Sequential(Convolution(5, 6, 3), DenseConv2d(6, 7, 4)), device)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert net[1].weight.is_contiguous() is (device == "cpu")


def test_a_map_that_is_too_small_is_refused_as_by_the_convolution():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        DenseConv2d(5, 6, 7)(torch.zeros(1, 5, 6, 20))


def test_a_map_without_memory_keeps_its_shape():
    with torch.device("meta"):
        dense = DenseConv2d(5, 6, 7)
    assert dense(torch.zeros(1, 5, 20, 30, device="meta")).shape == (1, 6, 14, 24)


needs_onednn = pytest.mark.skipif(not takes_onednn(torch.zeros(1)), reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_that_are_computed_last_are_the_same_bits(checkpointing, narrow, monkeypatch):
    net = narrow("vgg16")("same", dropout=0.0, checkpointing=checkpointing)
    images, found = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8), []
    for taken in (taken_last, lambda _: {}):
        monkeypatch.setattr("fcnseg.backbones.base.taken_last", taken)
        net.zero_grad()
        for _ in range(2):  # the second adds to the first
            net(images)[32].tensor.square().sum().backward()
        found.append([each.grad.clone() for each in net.parameters()])
    assert found[0][-2].any()
    assert all(torch.equal(*both) for both in zip(*found, strict=True))


@needs_onednn
def test_the_gradient_of_the_largest_weights_comes_behind_all_others(narrow):
    net, order = narrow("vgg16")("same"), []
    for name, parameter in net.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: order.append(name))
    net(torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8))[32].tensor.sum().backward()
    assert set(order[-2:]) == {"fc6.weight", "fc7.weight"}
    assert len(order) == len(list(net.parameters()))


@needs_onednn
def test_weights_that_are_taken_first_may_be_used_by_another_product():
    dense = DenseConv2d(5, 6, 3)
    last = dense.last()
    with torch.autocast("cpu", torch.bfloat16):
        dense(torch.randn(1, 5, 8, 8), last).float().sum().backward()
    assert last.factors == []
    assert dense.weight.grad.any()


def test_nothing_is_taken_where_no_gradient_is_wanted_or_another_product_is_used():
    dense = DenseConv2d(5, 6, 3)
    with torch.inference_mode():
        assert dense.last() is None
    assert dense.double().last() is None
    assert dense.float().requires_grad_(False).last() is None
    with torch.autocast("cpu", torch.bfloat16):
        assert DenseConv2d(5, 6, 3).last() is None
