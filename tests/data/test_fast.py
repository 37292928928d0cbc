"""The quick decoders give what Pillow gives, to the bit, and leave to it whatever is not plain."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcnseg.data.decoding import decoded_image, mask_values
from fcnseg.data.fast import MOST_PIXELS, numbers_of_png, rgb_of_jpeg

RNG = np.random.default_rng(0)
SMOOTH = np.kron(RNG.integers(0, 256, (9, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)[:67, :93]
NUMBERS = np.kron(RNG.integers(0, 256, (9, 12)), np.ones((8, 8))).astype(np.uint8)[:67, :93]
often = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def by_pillow(path, mode=None):
    with Image.open(path) as file:
        return np.array(file.convert(mode) if mode else file)


def jpeg(path, pixels=SMOOTH, mode="RGB", **options):
    Image.fromarray(pixels).convert(mode).save(path, "JPEG", **options)
    return path


def palette_png(path, numbers=NUMBERS, **options):
    picture = Image.fromarray(numbers)
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(path, "PNG", **options)
    return path


def png(path, rows, colours=3, bits=8, interlace=0, width=93, height=67, deflated=zlib.compress):
    """A PNG of rows that begin with the number of their filter."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlace)
    parts = [(b"IHDR", header), (b"PLTE", bytes(768)), (b"IDAT", deflated(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
        if kind != b"PLTE" or colours == 3
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def unfiltered(numbers=NUMBERS):
    return np.pad(numbers, ((0, 0), (1, 0))).tobytes()


def filtered(numbers=NUMBERS):
    """Rows of differences from the pixel on the left, which is filter 1."""
    return np.pad(np.diff(numbers, axis=1, prepend=np.uint8(0)), ((0, 0), (1, 0)), constant_values=1).tobytes()


# ---- plain files


@pytest.mark.parametrize("quality", [30, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(("height", "width"), [(67, 93), (8, 8), (1, 1), (1, 50), (17, 3)])
def test_a_baseline_jpeg_is_decoded_as_pillow_does(tmp_path, quality, subsampling, height, width):
    path = jpeg(tmp_path / "a.jpg", SMOOTH[:height, :width], quality=quality, subsampling=subsampling)
    np.testing.assert_array_equal(rgb_of_jpeg(path), by_pillow(path))


@pytest.mark.parametrize("options", [{"keep_rgb": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_with_other_tables_colours_or_restarts_is_decoded_as_pillow_does(tmp_path, options):
    path = jpeg(tmp_path / "a.JPEG", **options)
    np.testing.assert_array_equal(rgb_of_jpeg(path), by_pillow(path))


def test_no_turn_is_made_that_exif_asks_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = jpeg(tmp_path / "a.jpg", exif=exif)
    np.testing.assert_array_equal(rgb_of_jpeg(path), by_pillow(path))


@pytest.mark.parametrize("make", [palette_png, lambda path: png(path, unfiltered(), colours=0)])
def test_a_png_of_8_bits_holds_its_numbers_whatever_the_palette(tmp_path, make):
    path = make(tmp_path / "a.png")
    found = numbers_of_png(path)
    np.testing.assert_array_equal(found, NUMBERS)
    assert found.flags.writeable


def test_photographs_and_masks_of_voc_are_plain_and_equal_pillows(data_root):
    home = data_root / "VOCdevkit" / "VOC2012"
    names = (home / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:40]
    for name in names:
        image, mask = home / "JPEGImages" / f"{name}.jpg", home / "SegmentationClass" / f"{name}.png"
        np.testing.assert_array_equal(rgb_of_jpeg(image), by_pillow(image))
        np.testing.assert_array_equal(numbers_of_png(mask), by_pillow(mask))


# ---- all else is Pillow's


@pytest.mark.parametrize(("mode", "options"), [("RGB", {"progressive": True}), ("L", {}), ("CMYK", {})])
def test_other_jpegs_are_left_to_pillow(tmp_path, mode, options):
    path = jpeg(tmp_path / "a.jpg", mode=mode, **options)
    assert rgb_of_jpeg(path) is None
    np.testing.assert_array_equal(decoded_image(path), by_pillow(path, "RGB"))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: whole[:900], lambda whole: whole + b"x"])
def test_a_jpeg_that_does_not_end_with_its_end_is_left_to_pillow(tmp_path, damage):
    path = jpeg(tmp_path / "a.jpg")
    path.write_bytes(damage(path.read_bytes()))
    assert rgb_of_jpeg(path) is None


def test_a_jpeg_cut_off_in_its_thumbnail_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH[:16, :16]).save(buffer, "JPEG")
    path = jpeg(tmp_path / "a.jpg", comment=buffer.getvalue() + bytes(100))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\xff\xd9") + 2])
    with pytest.raises(ValueError, match=rf"{path} cannot be read as an image"):
        decoded_image(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: palette_png(path, NUMBERS % 4, bits=2),
        lambda path: Image.fromarray(SMOOTH).save(path),
        lambda path: Image.fromarray(NUMBERS.astype(np.uint16)).save(path),
        lambda path: png(path, filtered()),
        lambda path: png(path, unfiltered(), interlace=1),
    ],
    ids=["2 bits", "colours", "16 bits", "filtered", "interlaced"],
)
def test_other_pngs_are_left_to_pillow(tmp_path, make):
    path = tmp_path / "a.png"
    make(path)
    assert numbers_of_png(path) is None


@pytest.mark.parametrize(
    "deflated",
    [
        lambda rows: zlib.compress(rows[:-1]),
        lambda rows: zlib.compress(rows + b"\0"),
        lambda rows: zlib.compress(rows)[:-9],
        lambda rows: zlib.compress(rows)[:-1] + b"x",
        lambda rows: b"",
        zlib.compressobj(wbits=-15).compress,
    ],
    ids=["too few rows", "too many", "cut off", "another checksum", "nothing", "no header"],
)
def test_a_stream_that_is_not_whole_is_left_to_pillow(tmp_path, deflated):
    assert numbers_of_png(png(tmp_path / "a.png", unfiltered(), deflated=deflated)) is None


@pytest.mark.parametrize("level", [0, 1, 9])
def test_what_stands_behind_the_stream_changes_nothing(tmp_path, level):
    path = png(tmp_path / "a.png", unfiltered(), deflated=lambda rows: zlib.compress(rows, level) + b"behind")
    np.testing.assert_array_equal(numbers_of_png(path), by_pillow(path))


def test_filtered_rows_hold_the_same_numbers(tmp_path):
    np.testing.assert_array_equal(mask_values(png(tmp_path / "a.png", filtered())), NUMBERS)


def test_what_is_not_there_is_left_to_pillow(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for name in ("gone.jpg", "folder.jpg"):
        assert rgb_of_jpeg(tmp_path / name) is None
    assert numbers_of_png(tmp_path / "gone.png") is None


# ---- bombs


def test_a_mask_that_unpacks_to_more_than_its_header_says_is_not_unpacked(tmp_path):
    path = png(tmp_path / "a.png", bytes(1 << 26))
    assert path.stat().st_size < 100_000
    assert numbers_of_png(path) is None


@pytest.mark.parametrize("side", [9000, 60000])
def test_files_that_claim_to_be_huge_are_left_to_pillow(tmp_path, side):
    assert side * side > MOST_PIXELS
    mask = png(tmp_path / "a.png", b"", width=side, height=side)
    image = jpeg(tmp_path / "a.jpg")
    whole = image.read_bytes()
    frame = whole.index(b"\xff\xc0") + 5
    image.write_bytes(whole[:frame] + struct.pack(">HH", side, side) + whole[frame + 4 :])
    assert numbers_of_png(mask) is None
    assert rgb_of_jpeg(image) is None


# ---- damage


def spoilt(path, place, value, cut):
    """Changes a byte of a file, or ends the file there."""
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([value]) + whole[at + 1 :])
    return path


@often
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_mask_is_as_it_was_or_left_to_pillow(tmp_path, place, value, cut):
    found = numbers_of_png(spoilt(palette_png(tmp_path / "a.png"), place, value, cut))
    assert found is None or np.array_equal(found, NUMBERS)
    if cut:
        assert found is None


@often
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_photograph_is_what_pillow_makes_of_it_or_left_to_it(tmp_path, place, value, cut):
    damaged = spoilt(jpeg(tmp_path / "a.jpg"), place, value, cut)
    found = rgb_of_jpeg(damaged)
    assert not cut or found is None
    if found is not None:
        np.testing.assert_array_equal(found, by_pillow(damaged))


def test_a_wrong_checksum_of_the_pixels_is_left_to_pillow(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(path)
    content = path.read_bytes()
    at = content.index(b"IDAT")
    size = int.from_bytes(content[at - 4 : at])
    data = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS)
    stream = data.compress(b"".join(b"\0" + bytes(range(4 * row, 4 * row + 4)) for row in range(3))) + data.flush()
    for last, plain in ((stream[-1], True), (stream[-1] ^ 1, False)):
        changed = stream[:-1] + bytes([last])
        chunk = len(changed).to_bytes(4) + b"IDAT" + changed + zlib.crc32(b"IDAT" + changed).to_bytes(4)
        path.write_bytes(content[: at - 4] + chunk + content[at + 8 + size :])
        assert (numbers_of_png(path) is not None) == plain
