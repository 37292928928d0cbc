"""Error maps, overlays in bands, and colours without void; what else colours do is tested through fcnseg.visualize."""

import numpy as np
import pytest

from fcnseg import colours
from fcnseg.colours import ERROR_COLOURS, VOID_COLOUR, colourise, error_map, overlay, palette


def test_an_error_map_tells_kinds_of_errors_and_void_apart():
    truth = np.array([[0, 0, 5, 5, 5, 255]], np.uint8)
    prediction = np.array([[0, 7, 5, 0, 7, 7]], np.uint8)
    kinds = ["invented", "right", "missed", "confused"]
    expected = [(255, 255, 255), *(ERROR_COLOURS[kind] for kind in kinds), VOID_COLOUR]
    assert [tuple(colour) for colour in error_map(prediction, truth)[0]] == expected


def test_colours_of_errors_differ():
    assert len({*ERROR_COLOURS.values(), VOID_COLOUR, (255, 255, 255)}) == 6


@pytest.mark.parametrize(("void", "shown"), [(-1, VOID_COLOUR), (None, ERROR_COLOURS["confused"])])
def test_any_label_or_none_is_void_in_an_error_map(void, shown):
    found = error_map(np.array([[3]], np.int32), np.array([[-1]], np.int32), void)
    assert tuple(found[0, 0]) == shown


def test_bands_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (23, 17, 3), dtype=np.uint8)
    mask = rng.integers(0, 3, (23, 17), dtype=np.uint8)
    whole = overlay(image, mask, 0.3)
    monkeypatch.setattr(colours, "BAND_PIXELS", 40)
    np.testing.assert_array_equal(overlay(image, mask, 0.3), whole)
    expected = np.where((mask == 0)[..., None], image, image * (1 - 0.3) + palette(3)[mask] * 0.3)
    np.testing.assert_array_equal(whole, expected.astype(np.uint8))


def test_predictions_have_no_void():
    mask = np.array([[255]], np.uint8)
    assert tuple(colourise(mask)[0, 0]) == VOID_COLOUR
    assert tuple(colourise(mask, None)[0, 0]) == tuple(palette()[255])
