"""What stands in masks becomes labels: numbers of any size, colours, and any void."""

import re

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.legend import Legend, stated_legend

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def labels(tmp_path, values, classes, void=None):
    """Writes a mask, and reads it as data.classes and data.void say."""
    values = np.asarray(values)
    if values.dtype in (np.uint8, np.uint16):
        Image.fromarray(values).save(tmp_path / "mask.png")
        return stated_legend(classes, void)[1].labels(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", values)
    return stated_legend(classes, void)[1].labels(tmp_path / "mask.npy")


def colours(*rows):
    return np.array(rows, np.uint8)


# ---- what is stated


def test_names_stand_for_their_places():
    assert stated_legend(["sky", "road"]) == (("sky", "road"), Legend((0, 1), 255, 255))


def test_numbers_and_colours_are_told_apart():
    assert stated_legend({"no": 3, "yes": 7}) == (("no", "yes"), Legend((3, 7), 255, 255))
    assert stated_legend({"no": [0, 0, 1], "yes": [1, 0, 0]}) == (("no", "yes"), Legend((1, 65536), 255, None, True))


@pytest.mark.parametrize(("classes", "void_value"), [({"no": 0, "yes": 255}, -1), ({"a": -1, "b": 255}, None)])
def test_void_is_not_taken_for_a_class(classes, void_value):
    assert stated_legend(classes)[1].void_value == void_value


def test_a_class_that_is_void_is_left_out():
    assert stated_legend(["unlabelled", "wall", "door"], 0) == (("wall", "door"), Legend((1, 2), 255, 0))
    names, legend = stated_legend({"none": [0, 0, 0], "a": RED, "b": GREEN}, [0, 0, 0])
    assert (names, legend.void_value, legend.colours) == (("a", "b"), 0, True)


@pytest.mark.parametrize(
    ("classes", "void", "message"),
    [
        ("background", None, "data.classes='background' must be a list of names"),
        (7, None, "data.classes=7 must be a list of names"),
        (["a"], None, "must be two classes or more"),
        (["a", "b"], 1, "must be two classes or more"),
        (["a", "b", "a"], None, "has a name or a value twice"),
        ({"a": 1, "b": 1}, None, "has a name or a value twice"),
        ({"a": [0, 0, 0], "b": [0, 0, 0], "c": [1, 1, 1]}, None, "has a name or a value twice"),
        ({"a": 1, "b": 1.5}, None, "data.classes.b=1.5 must be a whole number"),
        ({"a": 1, "b": None}, None, "data.classes.b=None must be a whole number"),
        ({"a": 0, "b": True}, None, "data.classes.b=True must be a whole number"),
        ({"a": 1, "b": [1, 2, 3]}, None, "data.classes.a=1 must be a colour"),
        ({"a": [0, 0, 0], "b": [1, 2, 256]}, None, r"data.classes.b=[1, 2, 256] must be a colour [red,green,blue]"),
        ({"a": [0, 0, 0], "b": [1, 2]}, None, "data.classes.b=[1, 2] must be a colour"),
        ({"a": [0, 0, 0], "b": RED}, 255, "data.void=255 must be a colour"),
        (["a", "b"], [0, 0, 0], "data.void=[0, 0, 0] must be a whole number"),
    ],
)
def test_what_means_nothing_is_refused_with_its_key(classes, void, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stated_legend(classes, void)


# ---- what is read


@pytest.mark.parametrize(("void", "value"), [(None, 255), (255, 255), (254, 254), (7, 7)])
def test_whatever_void_is_in_the_files_it_is_255_among_few_classes(tmp_path, void, value):
    found = labels(tmp_path, np.array([[0, 1, value]], np.uint8), ["a", "b"], void)
    assert (found.tolist(), found.dtype) == ([[0, 1, 255]], np.uint8)


def test_void_may_be_zero_or_negative(tmp_path):
    assert labels(tmp_path, np.array([[0, 1, 2]], np.uint8), ["none", "a", "b"], 0).tolist() == [[255, 0, 1]]
    assert labels(tmp_path, np.array([[-1, 1, 0]], np.int16), ["a", "b"], -1).tolist() == [[255, 1, 0]]


def test_a_mask_of_black_and_white(tmp_path):
    found = labels(tmp_path, np.array([[0, 255]], np.uint8), {"background": 0, "crack": 255})
    assert found.tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize(("void", "value"), [(65535, 65535), (999, 999), (None, 3)])
def test_many_classes_are_int32_with_void_minus_one(tmp_path, dtype, void, value):
    found = labels(tmp_path, np.array([[0, 255, 256, 299, value]], dtype), [f"c{k}" for k in range(300)], void)
    assert found.dtype == np.int32
    assert found.tolist() == [[0, 255, 256, 299, 3 if void is None else -1]]


@pytest.mark.parametrize(("count", "dtype", "void"), [(255, np.uint8, 255), (256, np.int32, -1)])
def test_the_border_between_few_and_many(tmp_path, count, dtype, void):
    names = [f"c{k}" for k in range(count)]
    found = labels(tmp_path, np.array([[0, count - 1]], np.uint8), names)
    assert (found.dtype, found.tolist(), stated_legend(names)[1].void) == (dtype, [[0, count - 1]], void)


def test_a_mask_of_16_bits_and_few_classes_is_uint8(tmp_path):
    found = labels(tmp_path, np.array([[1000, 70, 65535]], np.uint16), {"a": 70, "b": 1000}, 65535)
    assert (found.tolist(), found.dtype) == ([[1, 0, 255]], np.uint8)


def test_colours_become_labels(tmp_path):
    found = labels(tmp_path, colours([RED, GREEN], [WHITE, RED]), {"g": GREEN, "r": RED}, list(WHITE))
    assert (found.tolist(), found.dtype) == ([[1, 0], [255, 1]], np.uint8)


def test_a_label_of_its_own_can_be_void(tmp_path):
    Image.fromarray(np.array([[0, 21]], np.uint8)).save(tmp_path / "a.png")
    assert Legend((0, 1), 21, 21).labels(tmp_path / "a.png").tolist() == [[0, 21]]


# ---- what means nothing in a mask


@pytest.mark.parametrize("count", [2, 21, 127, 128, 129, 254, 255])
def test_of_all_bytes_the_labels_and_void_are_read_and_the_others_refused(tmp_path, count):
    legend = stated_legend([f"c{k}" for k in range(count)])[1]
    for value in range(256):
        Image.fromarray(np.array([[0, value]], np.uint8)).save(tmp_path / "mask.png")
        if value < count or value == 255:
            assert legend.labels(tmp_path / "mask.png").tolist() == [[0, value]]
        else:
            with pytest.raises(ValueError, match=rf"mask\.png holds \[{value}\], first at row 0, column 1"):
                legend.labels(tmp_path / "mask.png")


def test_a_number_of_no_class_is_named_with_its_place(tmp_path):
    values = np.zeros((5, 6), np.uint8)
    values[3, 4], values[4, 0] = 9, 8
    said = r"mask\.png holds \[8, 9\], first at row 3, column 4, .*class \(0\.\.2\) nor void \(255\): correct it"
    with pytest.raises(ValueError, match=said):
        labels(tmp_path, values, ["a", "b", "c"])


def test_a_number_of_16_bits_of_no_class_is_named(tmp_path):
    said = r"holds \[300, 65535\], first at row 0, column 1, .*class \(0\.\.299\) nor void \(-1\)"
    with pytest.raises(ValueError, match=said):
        labels(tmp_path, np.array([[5, 300, 65535]], np.uint16), [f"c{k}" for k in range(300)])


def test_a_colour_of_no_class_is_named_with_its_place(tmp_path):
    mask = colours([RED, RED], [RED, (254, 0, 0)])
    said = r"holds \[\(254, 0, 0\)\], first at row 1, column 1, .*\(\(255, 0, 0\), \(0, 255, 0\)\) nor void \(none"
    with pytest.raises(ValueError, match=said):
        labels(tmp_path, mask, {"r": RED, "g": GREEN})
