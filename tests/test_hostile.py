"""Nothing hostile gets in: what a configuration, a list, a mask or an image may not do, and what noise in them does."""

import copy
import io
import struct
import zlib

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from fcnseg.config import TrainConfig, resolved
from fcnseg.consistency import check
from fcnseg.data.decoding import decoded_image, mask_values
from fcnseg.data.voc import open_split
from runs import OUTSIDE, SMALL, _groups, main, said
from tiny_voc import write_devkit

ODD = [*OUTSIDE, "albumentations.os.system", "null", "-1", "0", "nan", "1e999", "9" * 30, "[]", "[1,[2]]", "{a: 1}"]
ODD += ["true", "''", "'\\x00'", "${oc.env:HOME}", "${seed}", "${no.such}", "/dev/null", "/dev/zero", "é" * 300]
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


# ---- configurations


@pytest.mark.parametrize(
    "override",
    [
        "+model._target_=os.system",
        "+data.transforms.0._target_=albumentations.os.system",
        "backbone.name=lightning.pytorch.trainer.trainer.os.system",
        "data.format=albumentations.os.system",
        "optimizer.name=os.system",
    ],
)
def test_a_configuration_instantiates_nothing_but_what_the_package_has(tmp_path, capsys, override):
    assert main("train", *SMALL, override, f"hydra.run.dir={tmp_path / 'run'}") == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert override.partition("=")[0].lstrip("+").partition(".0")[0] in said(printed)
    assert not (tmp_path / "run").exists()


def keys(tree, prefix=""):
    for key in tree:
        node = tree._get_node(key)
        yield from keys(node, f"{prefix}{key}.") if OmegaConf.is_dict(node) else [f"{prefix}{key}"]


def attempt(override):
    """Does with an override what the command does before it touches data; returns what is said against it."""
    config = copy.deepcopy(_groups(()))
    try:
        for each in OverridesParser.create().parse_overrides([override]):
            OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
        check(resolved(config, TrainConfig))
    except (ValueError, OmegaConfBaseException, HydraException) as error:
        return str(error)
    return "nothing"


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_odd_values_are_taken_or_refused_with_words(data):
    key = data.draw(st.sampled_from(sorted(keys(_groups(())))))
    value = data.draw(
        st.sampled_from(ODD) | st.integers().map(str) | st.floats().map(str) | st.text("ab1.-[]{}$'", max_size=9)
    )
    assert attempt(f"{key}={value}").strip()


# ---- images, masks and lists


def png_of(width, height):
    """A PNG that claims a size and holds nearly nothing."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [decoded_image, mask_values])
def test_an_image_that_would_fill_the_memory_is_refused(tmp_path, read):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(60000, 60000))
    with pytest.raises(ValueError, match=rf"{path} .*(exceeds limit|pixels)"):
        read(path)


@pytest.mark.parametrize("read", [decoded_image, mask_values])
@FUZZ
@given(data=st.data())
def test_a_damaged_image_is_an_image_or_an_error_with_its_path(tmp_path_factory, read, data):
    whole = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(whole, "PNG")
    content = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "image.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    error = ""
    try:
        pixels = read(path)
    except ValueError as refused:
        error = str(refused)
    assert str(path) in error if error else pixels.size <= 6 * 8 * 3


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    return write_devkit(tmp_path_factory.mktemp("lists") / "VOCdevkit")


@settings(FUZZ, max_examples=25)
@given(
    text=st.text(max_size=60)
    | st.lists(st.sampled_from(["2012_000001", "../x", "/etc/passwd", "", "a b"])).map("\n".join)
)
def test_a_list_of_noise_is_refused_with_its_path(devkit, text):
    path = devkit / "VOC2012" / "ImageSets" / "Segmentation" / "noise.txt"
    path.write_text(text)
    error = ""
    try:
        names = [open_split(str(devkit), "2012", "noise").name(0)]
    except (ValueError, OSError) as refused:
        error = str(refused)
    assert error if error else names == ["2012_000001"]
