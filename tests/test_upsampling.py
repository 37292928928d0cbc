"""Upsampling by matrices is the authors' transposed convolution with a bilinear kernel."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from fcnseg.upsampling import LearnedUpsampling, Upsampling, bilinear_kernel


def difference(ours, theirs):
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def transposed(scores, kernel, factor):
    """Bilinear upsampling as Caffe does it: a transposed convolution, each class for itself."""
    filters = bilinear_kernel(kernel).to(scores.dtype).expand(scores.shape[1], 1, -1, -1)
    return functional.conv_transpose2d(scores, filters, stride=factor, groups=scores.shape[1])


SHAPES = [(1, 1), (1, 5), (4, 3), (7, 6)]
KERNELS = [(4, 2), (3, 2), (8, 4), (7, 4), (16, 8), (63, 32), (64, 32), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kernel", "factor"), KERNELS)
def test_fixed_upsampling_is_the_transposed_convolution(kernel, factor, shape):
    torch.manual_seed(0)
    ours = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    fine, expected = Upsampling(3, kernel, factor)(ours), transposed(theirs, kernel, factor)
    assert fine.shape == expected.shape == (2, 3, *((side - 1) * factor + kernel for side in shape))
    assert difference(fine, expected) < 1e-12
    pull = torch.randn_like(expected)
    fine.backward(pull)
    expected.backward(pull)
    assert difference(ours.grad, theirs.grad) < 1e-12


@pytest.mark.parametrize(("kernel", "factor"), KERNELS)
@pytest.mark.parametrize("layer", [Upsampling, LearnedUpsampling])
def test_upsampling_cuts_the_window_that_is_asked_for(layer, kernel, factor):
    scores = torch.randn(1, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    upsampling = layer(3, kernel, factor).double()
    whole = transposed(scores, kernel, factor)
    assert difference(upsampling(scores), whole) < 1e-12
    rows, columns = whole.shape[2:]
    for first in range(rows):
        window = slice(first, min(rows, first + 2)), slice(min(1, columns - 1), columns)
        assert torch.allclose(upsampling(scores, window), whole[:, :, window[0], window[1]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64, 63])
def test_the_bilinear_kernel_follows_the_authors_rule(size):
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    rows, columns = np.ogrid[:size, :size]
    expected = (1 - abs(rows - centre) / factor) * (1 - abs(columns - centre) / factor)
    np.testing.assert_allclose(bilinear_kernel(size).numpy(), expected, rtol=0, atol=1e-6)


def test_a_learned_layer_computes_no_more_than_the_window_sees(monkeypatch):
    asked = []

    def counted(scores, *arguments, **options):
        asked.append(scores.shape[2:])
        return transposed_convolution(scores, *arguments, **options)

    transposed_convolution = functional.conv_transpose2d
    monkeypatch.setattr(functional, "conv_transpose2d", counted)
    LearnedUpsampling(2, 16, 8)(torch.randn(1, 2, 20, 10), (slice(40, 48), slice(0, 88)))
    assert asked == [(2, 10)]
