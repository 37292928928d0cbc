"""Ground truth through a coarse map and back: cells where they should be, void nowhere, nothing lost at factor 1."""

import numpy as np
import pytest

from fcnseg.resampling import coarse_truth, side

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("pixels", "factor", "centres"),
    [(10, 4, [2, 6]), (11, 4, [2, 6, 10]), (8, 1, list(range(8))), (9, 2, [1, 3, 5, 7]), (3, 32, [2]), (16, 32, [15])],
)
def test_cells_lie_on_their_centres(pixels, factor, centres):
    assert side(pixels, factor).centres.tolist() == centres


@pytest.mark.parametrize(("pixels", "factor"), [(50, 8), (33, 32), (7, 64), (20, 1)])
def test_weights_are_bilinear_between_centres_and_constant_beyond(pixels, factor):
    centres, matrix = side(pixels, factor)
    np.testing.assert_allclose(matrix.sum(1), 1)
    values = RANDOM.random(len(centres))
    np.testing.assert_allclose(matrix @ values, np.interp(np.arange(pixels), centres, values))


def test_a_factor_of_one_changes_nothing_but_void():
    mask = RANDOM.integers(0, 21, (13, 17)).astype(np.uint8)
    np.testing.assert_array_equal(coarse_truth(mask, 1, 255), mask)
    mask[3, 4] = 255
    assert coarse_truth(mask, 1, 255)[3, 4] == 0
    assert coarse_truth(mask, 1, 255).dtype == np.uint8


def test_an_edge_moves_to_the_middle_between_two_centres():
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 5:] = 7  # cells of stride 4 are at 2, 6, 10 and 14, so the edge becomes 2 | 6
    seen = coarse_truth(mask, 4, 255)
    assert seen[0].tolist() == [0] * 5 + [7] * 11  # at 4 both are equal, and the first class wins


def test_void_gives_way_to_the_neighbours_and_all_void_is_background():
    mask = np.full((4, 12), 5, np.uint8)
    mask[:, 4:8] = 255
    seen = coarse_truth(mask, 4, 255)
    assert (np.delete(seen, 6, axis=1) == 5).all()
    assert (seen[:, 6] == 0).all()  # the void cell's own centre, where no other cell adds anything: void in truth
    assert (coarse_truth(np.full((4, 4), 255, np.uint8), 2, 255) == 0).all()


def test_other_labels_than_bytes_stay_what_they_are():
    mask = np.full((5, 5), 299, np.int32)
    mask[0] = -1
    seen = coarse_truth(mask, 2, -1)
    assert (seen.dtype, set(np.unique(seen))) == (np.int32, {299})


def test_a_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="factors must be at least 1, not 0"):
        coarse_truth(np.zeros((2, 2), np.uint8), 0, 255)
