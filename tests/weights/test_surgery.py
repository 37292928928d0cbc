"""A classifier's inner products become convolutions that compute the same."""

import pytest
import torch
from torch import nn

from fcnseg.weights.surgery import convolutionalize, fitted, for_channels, spread_out


def test_the_convolution_computes_the_inner_product():
    torch.manual_seed(0)
    linear = nn.Linear(5 * 7 * 7, 11).double()
    maps = torch.randn(2, 5, 9, 8, dtype=torch.float64)
    convolved = nn.functional.conv2d(maps, convolutionalize(linear.weight, (11, 5, 7, 7)), linear.bias)
    assert convolved.shape == (2, 11, 3, 2)
    for row in range(3):
        for column in range(2):
            window = maps[:, :, row : row + 7, column : column + 7].flatten(1)
            torch.testing.assert_close(convolved[:, :, row, column], linear(window))


@pytest.mark.parametrize("shape", [(10, 5, 7, 7), (11, 5, 7, 6), (11, 4, 7, 7)])
def test_inner_products_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape \[11, 245\] is no convolution of shape"):
        convolutionalize(torch.zeros(11, 5 * 7 * 7), shape)


def test_maps_are_no_inner_products():
    with pytest.raises(ValueError, match="no convolution"):
        convolutionalize(torch.zeros(11, 5, 49), (11, 5, 7, 7))


def test_a_kernel_with_twice_the_side_does_the_same_on_a_map_twice_as_fine():
    torch.manual_seed(0)
    weight, maps = torch.randn(3, 2, 7, 7, dtype=torch.float64), torch.randn(1, 2, 20, 21, dtype=torch.float64)
    fine = nn.functional.conv2d(maps, spread_out(weight))
    expected = nn.functional.conv2d(maps, weight, dilation=2)
    torch.testing.assert_close(fine, expected[:, :, : fine.shape[2], : fine.shape[3]])


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 36)])
def test_a_kernel_with_twice_the_side_is_filled(shape):
    conv, weight = nn.Sequential(nn.Conv2d(4, 6, 6)), torch.randn(*shape)
    state = fitted(conv, {"0.weight": weight, "0.bias": torch.zeros(6)}, {}, "a file")
    assert torch.equal(state["0.weight"], spread_out(weight.reshape(6, 4, 3, 3)))


@pytest.mark.parametrize("shape", [(6, 2, 6, 3), (3, 72), (6, 4, 2, 3)])
def test_other_kernels_are_not(shape):
    conv = nn.Sequential(nn.Conv2d(4, 6, 6))
    with pytest.raises(ValueError, match=r"a file does not fit Sequential: 0.weight"):
        fitted(conv, {"0.weight": torch.randn(*shape), "0.bias": torch.zeros(6)}, {}, "a file")


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 2))


@pytest.fixture
def tensors():
    return {
        "first.weight": torch.randn(4, 3, 3, 3),
        "first.bias": torch.randn(4),
        "last.weight": torch.randn(6, 16),
        "last.bias": torch.randn(6),
        "score_fr.weight": torch.zeros(1),
    }


NAMES = {"0": "first", "1": "last"}


def test_every_parameter_finds_its_tensor(net, tensors):
    state = fitted(net, tensors, NAMES, "the file")
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert torch.equal(state["0.weight"], tensors["first.weight"])
    assert torch.equal(state["1.weight"], tensors["last.weight"].reshape(6, 4, 2, 2))


def test_layers_that_are_not_renamed_keep_their_names(net, tensors):
    own = {
        f"{number}.{kind}": tensors[f"{name}.{kind}"] for number, name in NAMES.items() for kind in ("weight", "bias")
    }
    assert torch.equal(fitted(net, own, {}, "the file")["1.bias"], tensors["last.bias"])


def test_everything_that_does_not_fit_is_named_at_once(net, tensors):
    del tensors["first.bias"]
    tensors["last.bias"] = torch.zeros(7)
    tensors["last.weight"] = torch.zeros(6, 17)
    with pytest.raises(
        ValueError, match=r"^the file does not fit Sequential: first.bias is missing; last.weight: "
    ) as e:
        fitted(net, tensors, NAMES, "the file")
    assert "last.bias: shape [7], needed [6]" in str(e.value)
    assert "first.weight" not in str(e.value)


def test_a_long_list_of_faults_is_cut(net):
    with pytest.raises(ValueError, match=r"5.bias is missing; and 2 more$"):
        fitted(nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(4))), {}, {str(i): str(i + 3) for i in range(4)}, "it")


def test_statistics_are_filled_and_counters_may_be_missing():
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    tensors = {"0.weight": torch.ones(4, 3, 1, 1)} | {
        f"1.{kind}": torch.full((4,), float(value))
        for value, kind in enumerate(("weight", "bias", "running_mean", "running_var"))
    }
    net.load_state_dict(fitted(net, tensors, {}, "the file"), strict=False)
    assert net[1].running_var.tolist() == [3, 3, 3, 3]
    del tensors["1.running_mean"]
    with pytest.raises(ValueError, match=r"the file does not fit Sequential: 1.running_mean is missing"):
        fitted(net, tensors, {}, "the file")


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_filters_for_other_channels_answer_alike_to_grey(channels):
    weight = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    adapted = for_channels(weight, channels)
    assert adapted.shape == (6, channels, 5, 5)
    if channels < 3:
        torch.testing.assert_close(adapted.sum(1), weight.sum(1))
    else:
        assert torch.equal(adapted[:, :3], weight)
        torch.testing.assert_close(adapted[:, 3], weight.mean(1))


def test_a_larger_nets_layers_are_refused(net, tensors):
    tensors |= {"between.weight": torch.zeros(4, 4, 3, 3), "between.bias": torch.zeros(4)}
    with pytest.raises(ValueError, match="the file does not fit Sequential: between has no place in it"):
        fitted(net, tensors, NAMES, "the file")
