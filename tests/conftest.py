"""What every test shares: annotations that are checked, and the real data where it lies on this machine."""

import math
import os
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

# Types and shapes are checked from here on, so nothing may import fcnseg before. An int passes for a float, as in mypy.
install_import_hook("fcnseg", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
# Most nets here are so small that a second thread costs more than it gives, many times more on a busy machine.
torch.set_num_threads(1)

NOBODY = 65534
"""The user who owns nothing."""

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def data_root():
    """The folder that holds VOCdevkit: FCNSEG_DATA, else shared/data beside the repository."""
    return found(Path(os.environ.get("FCNSEG_DATA", SHARED / "data")), "the real data, or FCNSEG_DATA naming it")


@pytest.fixture(scope="session")
def reference():
    """The folder of the golden outputs that are not in the repository."""
    return found(SHARED / "reference", "the golden outputs")


@pytest.fixture(scope="session")
def assets():
    """Golden numbers that travel with the tests."""
    return Path(__file__).parent / "assets"


@pytest.fixture
def unprivileged(monkeypatch):
    """A folder that everyone can reach; root, who may read everything, reads images in it as nobody."""
    from fcnseg.data.dataset import ImageFiles

    read, one_at_a_time = ImageFiles.read_image, threading.Lock()

    def read_as_nobody(source, index):
        with one_at_a_time:
            os.seteuid(NOBODY)
            try:
                return read(source, index)
            finally:
                os.seteuid(0)

    if os.geteuid() == 0:
        monkeypatch.setattr(ImageFiles, "read_image", read_as_nobody)
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def all_threads():
    """For the few tests that compute for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


def found(folder, what):
    if not folder.is_dir():
        pytest.skip(f"needs {what}: there is no {folder}")
    return folder


@pytest.fixture(scope="session")
def narrow():
    """Backbones with a fraction of their channels, layer by layer: their geometry at no cost."""
    from fcnseg.backbones import backbone_class
    from fcnseg.backbones.layers import BatchNorm, Concat, Conv, Sum, Tap, named_layers

    def narrowed(layer, divisor):
        if isinstance(layer, Concat | Sum):
            return type(layer)(tuple(tuple(narrowed(inner, divisor) for inner in path) for path in layer.paths))
        if isinstance(layer, Conv):
            inputs = layer.inputs if layer.inputs == 3 else layer.inputs // divisor
            return replace(layer, inputs=inputs, outputs=layer.outputs // divisor)
        return replace(layer, channels=layer.channels // divisor) if isinstance(layer, Tap | BatchNorm) else layer

    def narrow(name):
        full = backbone_class(name)
        layers = named_layers(full.make_layers("same", 0.0))
        divisor = math.gcd(*(layer.outputs for layer in layers if isinstance(layer, Conv))) // 2

        class Narrow(full):
            @classmethod
            def make_layers(cls, padding, dropout):
                return tuple(narrowed(layer, divisor) for layer in full.make_layers(padding, dropout))

        return Narrow

    return narrow


@pytest.fixture(scope="session")
def golden_layer():
    """The rule of the golden outputs for one layer."""

    def layer(name, shape, seed):
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        weight = random.standard_normal(shape, dtype=np.float32)
        weight *= np.float32(math.sqrt(2 / math.prod(shape[1:])))
        return [weight, random.standard_normal(shape[0], dtype=np.float32) * np.float32(0.05)]

    return layer


@pytest.fixture(scope="session")
def golden_blobs(golden_layer):
    """The rule of the golden outputs: weights of every convolution of a net, from a seed and the layer's name."""

    def blobs(model, seed):
        convolutions = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)]
        return {
            name.rpartition(".")[2]: golden_layer(name.rpartition(".")[2], tuple(module.weight.shape), seed)
            for name, module in convolutions
        }

    return blobs


@pytest.fixture(scope="session")
def empty_vgg():
    """Builds VGG 16 without the seconds that initialising 134 million numbers takes; weights are undefined."""

    def build(**options):
        from fcnseg.backbones.vgg16 import VGG16
        from fcnseg.weights.normalization import CAFFE

        with torch.device("meta"):
            backbone = VGG16(**options)
        backbone.to_empty(device="cpu")
        backbone.normalize_with(CAFFE)
        return backbone

    return build
