"""Images of any format and any number of channels, masks of numbers or colours, and what cannot be read is named."""

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcnseg.data.decoding import decoded_image, image_size, mask_values

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (9, 13, 3), np.uint8)
FIVE = RNG.integers(0, 256, (9, 13, 5), np.uint8)


def saved(path, pixels, **options):
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


def pages(path, pixels):
    first, *others = (Image.fromarray(pixels[..., band]) for band in range(pixels.shape[2]))
    first.save(path, save_all=True, append_images=others)
    return path


# ---- three channels are RGB, one is grey


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "npy", "PNG"])
def test_rgb_is_read_as_it_is_from_every_format(tmp_path, ending):
    path = saved(tmp_path / f"a.{ending}", RGB)
    np.testing.assert_array_equal(decoded_image(path), RGB)
    assert image_size(path) == (9, 13)


def test_a_jpeg_is_read_nearly_as_it_was(tmp_path):
    smooth = np.tile(np.arange(0, 130, 10, dtype=np.uint8), (9, 1))[..., None].repeat(3, 2)
    image = decoded_image(saved(tmp_path / "a.jpeg", smooth, quality=98))
    assert np.abs(image.astype(int) - smooth).max() < 8


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_grey_becomes_rgb(tmp_path, ending):
    image = decoded_image(saved(tmp_path / f"a.{ending}", FIVE[..., 0]))
    np.testing.assert_array_equal(image, FIVE[..., :1].repeat(3, axis=2))


def test_alpha_is_dropped(tmp_path):
    np.testing.assert_array_equal(decoded_image(saved(tmp_path / "a.png", FIVE[..., :4])), FIVE[..., :3])


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(13))])
def test_palettes_are_followed(tmp_path, transparency):
    picture = Image.fromarray(np.tile(np.arange(13, dtype=np.uint8), (9, 1)))
    picture.putpalette([part for number in range(13) for part in (number, 2 * number, 200)])
    picture.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decoded_image(tmp_path / "a.png")
    assert image[4].tolist() == [[number, 2 * number, 200] for number in range(13)]


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_one_channel_is_grey(tmp_path, ending):
    image = decoded_image(saved(tmp_path / f"a.{ending}", RGB), 1)
    expected = RGB @ np.array([0.299, 0.587, 0.114])
    assert image.shape == (9, 13, 1)
    assert np.abs(image[..., 0] - expected).max() <= 1


def test_a_page_of_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(RGB[..., 0] > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded_image(tmp_path / "a.png", 1)[..., 0], np.where(RGB[..., 0] > 100, 255, 0))


# ---- any other number of channels


def test_four_channels_are_those_of_the_file(tmp_path):
    for ending in ("png", "tif", "npy"):
        path = saved(tmp_path / f"a.{ending}", FIVE[..., :4])
        np.testing.assert_array_equal(decoded_image(path, 4), FIVE[..., :4])


def test_the_pages_of_a_tiff_are_channels(tmp_path):
    np.testing.assert_array_equal(decoded_image(pages(tmp_path / "a.tif", FIVE), 5), FIVE)
    np.testing.assert_array_equal(decoded_image(pages(tmp_path / "b.tif", FIVE[..., :3]), 3), FIVE[..., :3])


def test_a_smaller_copy_in_a_tiff_is_no_channel(tmp_path):
    copy = Image.fromarray(RGB).resize((6, 4))
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(RGB).save(tmp_path / "a.tif", save_all=True, append_images=[copy])
    with Image.open(tmp_path / "a.tif") as file:
        file.seek(1)
        assert file.tag_v2[254] == 1
    np.testing.assert_array_equal(decoded_image(tmp_path / "a.tif"), RGB)


@pytest.mark.parametrize("channels", [2, 5])
def test_an_array_has_any_number_of_channels(tmp_path, channels):
    path = saved(tmp_path / "a.npy", FIVE[..., :channels])
    np.testing.assert_array_equal(decoded_image(path, channels), FIVE[..., :channels])
    assert image_size(path) == (9, 13)


@pytest.mark.parametrize(
    ("ending", "found", "wanted"), [("png", 3, 4), ("npy", 5, 4), ("npy", 4, 3), ("npy", 4, 1), ("npy", 2, 3)]
)
def test_other_channels_are_refused_with_the_key(tmp_path, ending, found, wanted):
    path = saved(tmp_path / f"a.{ending}", FIVE[..., :found])
    with pytest.raises(
        ValueError, match=rf"{path} has {found} channels instead of the {wanted} asked for: set backbone\.in_chan"
    ):
        decoded_image(path, wanted)


def test_pages_that_are_too_many_for_rgb_are_not_dropped(tmp_path):
    with pytest.raises(ValueError, match=r"has 5 channels instead of the 3 asked for: set backbone\.in_channels"):
        decoded_image(pages(tmp_path / "a.tif", FIVE))


# ---- more than 8 bits


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["grey.png", "colour.png", "grey.tif", "colour.tif", "grey.npy", "float.npy"])
def test_images_of_more_than_8_bits_are_refused(tmp_path, name, channels):
    path, deep = tmp_path / name, RNG.integers(0, 65536, (9, 13, 3), np.uint16)
    if path.suffix == ".npy":
        np.save(path, deep[..., 0] if name == "grey.npy" else np.zeros((9, 13, 3), np.float32))
    else:
        assert cv2.imwrite(str(path), deep if name.startswith("colour") else deep[..., 0])
    kind = "float32" if name == "float.npy" else "uint16"
    with pytest.raises(ValueError, match=rf"{path} has channels of {kind}; images are of 8 bits.*save it as uint8"):
        decoded_image(path, channels)


# ---- masks


@pytest.mark.parametrize(
    ("ending", "dtype"),
    [(ending, dtype) for ending in ("png", "tif", "npy") for dtype in (np.uint8, np.uint16)]
    + [("tif", np.int32), ("npy", np.int32)],
)
def test_masks_of_8_16_and_32_bits_keep_their_numbers(tmp_path, ending, dtype):
    top = np.iinfo(dtype).max
    numbers = np.array([[0, 1, 200], [min(top, 60000), top, 3]], dtype)
    found = mask_values(saved(tmp_path / f"a.{ending}", numbers))
    np.testing.assert_array_equal(found, numbers)


def test_an_array_of_one_channel_or_of_truths_is_a_mask(tmp_path):
    np.testing.assert_array_equal(mask_values(saved(tmp_path / "a.npy", FIVE[..., :1])), FIVE[..., 0])
    found = mask_values(saved(tmp_path / "b.npy", RGB[..., 0] > 100))
    assert (found.dtype, found.max()) == (np.uint8, 1)


@pytest.mark.parametrize("ending", ["png", "bmp", "npy"])
def test_colours_are_packed(tmp_path, ending):
    found = mask_values(saved(tmp_path / f"a.{ending}", RGB), colours=True)
    np.testing.assert_array_equal(found, RGB.astype(int) @ np.array([65536, 256, 1]))


def test_the_palette_of_a_mask_of_colours_is_followed(tmp_path):
    mask = Image.fromarray(np.array([[0, 1]], np.uint8))
    mask.putpalette([1, 2, 3, 4, 5, 6])
    mask.save(tmp_path / "a.png")
    assert mask_values(tmp_path / "a.png", colours=True).tolist() == [[0x010203, 0x040506]]


@pytest.mark.parametrize("pixels", [RGB, FIVE, RGB[..., 0].astype(np.float32)])
def test_a_mask_without_numbers_is_refused(tmp_path, pixels):
    path = saved(tmp_path / ("a.png" if pixels is RGB else "a.npy"), pixels)
    with pytest.raises(
        ValueError, match=rf"the mask {path} has .*; class numbers stand in .*data=folder.*: convert it"
    ):
        mask_values(path)


def test_a_mask_without_colours_is_refused(tmp_path):
    path = saved(tmp_path / "a.npy", FIVE)
    with pytest.raises(ValueError, match=rf"the mask {path} has 5 channels of uint8, but data\.classes gives colours"):
        mask_values(path, colours=True)


# ---- damage


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_array_is_named(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    for read in (decoded_image, mask_values, image_size):
        with pytest.raises(ValueError, match=rf"{path} cannot be read as an image .*: restore it"):
            read(path)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as an image .*objects"):
        decoded_image(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5), (0, 3), (4, 4, 0)])
def test_an_array_of_another_shape_is_named(tmp_path, shape):
    path = saved(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"a\.npy (holds an array|cannot be read).*"):
        image_size(path)


def test_what_is_gone_or_is_a_folder_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name, said in (("a.npy", "is gone"), ("a.png", "is gone"), ("folder.png", "cannot be read as an image")):
        with pytest.raises(ValueError, match=rf"{tmp_path / name} {said}.*: restore it"):
            decoded_image(tmp_path / name)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_any_damage_is_read_or_named(tmp_path, ending, place, value, cut):
    path = tmp_path / f"a.{ending}"
    good = saved(path, FIVE).read_bytes() if ending == "npy" else pages(path, FIVE).read_bytes()
    at = int(place * len(good))
    path.write_bytes(good[:at] if cut else good[:at] + bytes([value]) + good[at + 1 :])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert decoded_image(path, 5).shape[2] == 5
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
