"""Strides, centres, fields, crops and kernels: the authors' numbers, and what really happens to pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from fcnseg.geometry import IMAGE, Grid, bilinear_kernel_size
from fcnseg.upsampling import bilinear_kernel

CONV = (3, 1, 1)
POOL = (2, 2, 0)
POOL3 = ((3, 1, 100), CONV, POOL, CONV, CONV, POOL, CONV, CONV, CONV, POOL)
POOL4 = (*POOL3, CONV, CONV, CONV, POOL)
VGG16 = (*POOL4, CONV, CONV, CONV, POOL, (7, 1, 0), (1, 1, 0))
CAFFENET = (
    (11, 4, 100),
    (3, 2, 0),
    (5, 1, 2),
    (3, 2, 0),
    CONV,
    CONV,
    CONV,
    (3, 2, 0),
    (6, 1, 0),
    (1, 1, 0),
)


def after(layers, grid=IMAGE):
    for kernel, stride, padding in layers:
        grid = grid.conv(kernel, stride, padding)
    return grid


# ---- the authors' numbers


@pytest.mark.parametrize(("layers", "field"), [(VGG16, 404), (CAFFENET, 355)])
def test_receptive_fields_and_strides_are_the_papers(layers, field):
    grid = after(layers)
    assert (grid.field, grid.stride) == (field, 32)


@pytest.mark.parametrize(("layers", "kernel", "crop"), [(VGG16, 64, 19), (CAFFENET, 63, 18)])
def test_kernel_and_crop_of_the_32s_nets_are_the_authors(layers, kernel, crop):
    grid = after(layers)
    assert bilinear_kernel_size(grid, IMAGE) == kernel
    assert grid.upsample(kernel, 32).crop_to(IMAGE) == crop


def test_kernels_and_crops_of_the_skips_are_the_authors():
    fc7, pool4, pool3 = after(VGG16), after(POOL4), after(POOL3)
    assert bilinear_kernel_size(fc7, pool4) == bilinear_kernel_size(pool4, pool3) == 4
    at16 = fc7.upsample(4, 2)
    assert pool4.crop_to(at16) == 5
    assert bilinear_kernel_size(at16, IMAGE) == 32
    assert at16.upsample(32, 16).crop_to(IMAGE) == 27
    at8 = at16.upsample(4, 2)
    assert pool3.crop_to(at8) == 9
    assert bilinear_kernel_size(at8, IMAGE) == 16
    assert at8.upsample(16, 8).crop_to(IMAGE) == 31


# ---- what happens to pixels

LAYERS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), max_size=3
)


def run(layers, signals):
    """Runs layers on signals [n, length]: positive filters and maxima, which never hide that a pixel has grown."""
    for pooling, kernel, stride, padding, dilation in layers:
        if pooling:
            signals = functional.max_pool1d(signals, kernel, stride, min(padding, kernel // 2), dilation)
        else:
            ones = torch.ones(1, 1, kernel, dtype=signals.dtype)
            signals = functional.conv1d(signals[:, None], ones, None, stride, padding, dilation)[:, 0]
    return signals


@given(LAYERS)
@settings(max_examples=40, deadline=None)
def test_a_cell_is_moved_by_the_pixels_of_its_field_alone(layers):
    grid = IMAGE
    for pooling, kernel, stride, padding, dilation in layers:
        grid = grid.conv(kernel, stride, min(padding, kernel // 2) if pooling else padding, dilation)
    length = 4 * grid.field + 2 * grid.stride
    cell = round((length / 2 - grid.offset) / grid.stride)
    grown = run(layers, 1 + 1000 * torch.eye(length, dtype=torch.float64))[:, cell]
    plain = run(layers, torch.ones(1, length, dtype=torch.float64))[0, cell]
    seen = torch.nonzero(grown != plain).flatten()
    centre, reach = grid.stride * cell + grid.offset, (grid.field - 1) / 2
    assert (int(seen.min()), int(seen.max())) == (centre - reach, centre + reach)


@given(st.integers(1, 3), st.integers(-9, 9), st.integers(2, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_upsampling_carries_every_position_to_its_new_cell(fine, halves, factor, odd):
    grid, kernel = Grid(fine * factor, halves / 2, 7), 2 * factor - odd
    positions = grid.stride * torch.arange(8, dtype=torch.float64) + grid.offset
    line = bilinear_kernel(kernel).double()
    line = line[kernel // 2] / line[kernel // 2].max()
    # Both kernels weigh the two nearest cells by 1, up to one factor.
    line = line * factor / line.sum()
    carried = functional.conv_transpose1d(positions[None, None], line[None, None], stride=factor)[0, 0]
    result = grid.upsample(kernel, factor)
    expected = result.stride * torch.arange(len(carried), dtype=torch.float64) + result.offset
    inner = slice(kernel, -kernel)
    torch.testing.assert_close(carried[inner], expected[inner], rtol=0, atol=1e-4)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_upsampled_cells_see_the_fields_of_all_cells_that_reach_them(kernel, factor, fine):
    grid = Grid(fine * factor, 0.0, 5)
    touched = functional.conv_transpose1d(torch.ones(1, 1, 30), torch.ones(1, 1, kernel), stride=factor)
    reached = int(touched.max())
    assert grid.upsample(kernel, factor).field == 5 + grid.stride * (reached - 1)


def test_cropping_moves_the_first_cell():
    assert Grid(8, -3.5, 20).crop(2) == Grid(8, 12.5, 20)


@given(st.integers(1, 32), st.integers(-40, 40), st.integers(-20, 20))
def test_crop_to_is_what_crop_needs(stride, offset, cells):
    grid = Grid(stride, float(offset), 3)
    assert grid.crop_to(grid.crop(cells)) == cells


# ---- what cannot be


def test_strides_that_would_need_subpixels_are_refused():
    with pytest.raises(ValueError, match="stride 2 cannot be upsampled 4 times"):
        Grid(2).upsample(8, 4)


@pytest.mark.parametrize("target", [Grid(8, 0.0), Grid(16, 0.5), Grid(16, 4.0)])
def test_cells_that_never_coincide_are_refused(target):
    with pytest.raises(ValueError, match="do not coincide"):
        Grid(16, 0.0).crop_to(target)


def test_positions_that_no_bilinear_kernel_reaches_are_refused():
    with pytest.raises(ValueError, match="no bilinear kernel carries"):
        bilinear_kernel_size(Grid(4, 0.25), IMAGE)
