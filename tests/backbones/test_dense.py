"""The matrix product computes the convolution."""

import pytest
import torch

from fcnseg.backbones.dense import DenseConv2d


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


def test_a_map_that_is_too_small_is_refused_as_by_the_convolution():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        DenseConv2d(5, 6, 7)(torch.zeros(1, 5, 6, 20))


def test_a_map_without_memory_keeps_its_shape():
    with torch.device("meta"):
        dense = DenseConv2d(5, 6, 7)
    assert dense(torch.zeros(1, 5, 20, 30, device="meta")).shape == (1, 6, 14, 24)
