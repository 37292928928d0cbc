"""Sampling against its definition in plain numbers: which cell owns a pixel, and what is drawn."""

import math

import numpy as np
import pytest
import torch

from fcnseg.geometry import Grid
from fcnseg.sampling import kept_cells, kept_pixels, owners, uniform
from fcnseg.shapes import Features

GRIDS = [Grid(32, 12.5), Grid(16, 7.5), Grid(8, 0.0), Grid(8, -20.5), Grid(4, 3.0), Grid(1, 0.0)]


def nearest(grid, cells, pixel):
    """The cell whose centre is nearest; of two as near the later one."""
    distances = [abs(grid.stride * cell + grid.offset - pixel) for cell in range(cells)]
    return max(cell for cell in range(cells) if distances[cell] == min(distances))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_pixel_belongs_to_the_nearest_cell(grid):
    for cells in (1, 2, 9):
        found = owners(grid, cells, 61, torch.device("cpu")).tolist()
        assert found == [nearest(grid, cells, pixel) for pixel in range(61)]


def test_a_cell_inside_owns_stride_times_stride_pixels():
    for grid in GRIDS:
        owned = np.bincount(owners(grid, 60, 500, torch.device("cpu")))
        inside = [grid.stride * i + grid.offset for i in range(len(owned))]
        full = [n for n, at in zip(owned, inside, strict=True) if grid.stride <= at < min(500, 60 * grid.stride) - 40]
        assert full
        assert set(full) == {grid.stride}


def scores_on(grid, rows, columns, count=1):
    return Features(torch.zeros(count, 2, rows, columns), grid)


def defined_cells(grid, cells, size, chance, keep):
    """The definition: pixel by pixel, from the number that its cell has along each side of the image."""
    rows, columns = (
        [nearest(grid, count, pixel) for pixel in range(side)] for count, side in zip(cells, size, strict=True)
    )
    first = math.floor(grid.offset / grid.stride)
    draw = {
        (i, j): float(uniform(torch.tensor([chance]), torch.tensor([i + first]), torch.tensor([j + first])))
        for i in range(cells[0])
        for j in range(cells[1])
    }
    return torch.tensor([[draw[i, j] < keep for j in columns] for i in rows])


@pytest.mark.parametrize("grid", [Grid(16, 7.5), Grid(8, -20.5), Grid(4, 1.0)], ids=str)
def test_cells_are_kept_or_dropped_whole(grid):
    cells, size, chances = (6, 8), (45, 59), [5, 2**62 + 1]
    kept = kept_cells(scores_on(grid, *cells, count=2), size, torch.tensor(chances), 0.5)
    for found, chance in zip(kept, chances, strict=True):
        assert torch.equal(found, defined_cells(grid, cells, size, chance, 0.5))
        assert 0 < int(found.sum()) < found.numel()


def test_a_part_of_the_map_drops_the_same_cells():
    grid, chances = Grid(8, -20.5), torch.tensor([3, 4])
    whole = kept_cells(scores_on(grid, 12, 15, count=2), (33, 57), chances, 0.5)
    part = kept_cells(scores_on(grid.crop(2), 9, 12, count=2), (33, 57), chances, 0.5)
    assert torch.equal(whole, part)
    assert not torch.equal(whole[0], whole[1])


def test_a_larger_canvas_drops_the_same_cells():
    grid, chances = Grid(8, 0.0), torch.tensor([3])
    small, large = (kept_cells(scores_on(grid, *cells), size, chances, 0.5) for cells, size in CANVASES)
    assert torch.equal(small, large[:, :33, :41])


CANVASES = (((6, 7), (33, 41)), ((11, 14), (80, 100)))


def test_an_images_draw_does_not_depend_on_the_others():
    chances = torch.tensor([7, 8, 9])
    places = torch.arange(20), torch.arange(30)
    together = uniform(chances, *places)
    assert torch.equal(together[1:2], uniform(chances[1:2], *places))


def hashed(number):
    """splitmix64 in Python's whole numbers."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def test_draws_are_the_same_on_every_machine():
    chances, rows, columns = [0, 1, 2**63 - 1], [0, -3, 70], [5, -1]
    found = uniform(*(torch.tensor(each) for each in (chances, rows, columns)))
    expected = [[[hashed(hashed(hashed(c) + i) + j) >> 40 for j in columns] for i in rows] for c in chances]
    assert (found * 2**24).int().tolist() == expected


def test_draws_are_spread_evenly_and_neighbours_know_nothing_of_each_other():
    found = uniform(torch.arange(40), torch.arange(-25, 25), torch.arange(50)).double().numpy()
    assert 0 <= found.min() < found.max() < 1
    counts = np.bincount((found * 100).astype(int).ravel(), minlength=100)
    assert ((counts - 1000) ** 2 / 1000).sum() < 148.3  # 0.1 % with 99 degrees of freedom
    for axis in range(3):
        first, second = (np.delete(found, end, axis).ravel() for end in (-1, 0))
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.012  # 3.8 standard deviations


def test_pixels_are_kept_with_the_rate_of_their_class():
    targets = torch.arange(3, dtype=torch.uint8).repeat(200).reshape(1, 20, 30).repeat(100, 1, 1)
    targets[:, :, -1] = 255
    kept = kept_pixels(targets, targets != 255, torch.arange(100), torch.tensor([0.1, 1.0, 0.5], dtype=torch.float64))
    for label, rate in enumerate((0.1, 1.0, 0.5)):
        share = float(kept[targets == label].double().mean())
        assert share == pytest.approx(rate, abs=0.02)


def test_pixels_are_drawn_independently_of_their_cells():
    chances, targets = torch.arange(200), torch.zeros(200, 10, 10, dtype=torch.uint8)
    cells = kept_cells(scores_on(Grid(), 10, 10, count=200), (10, 10), chances, 0.5)
    pixels = kept_pixels(targets, targets == 0, chances, torch.tensor([0.5], dtype=torch.float64))
    assert float((cells & pixels).double().mean()) == pytest.approx(0.25, abs=0.01)
