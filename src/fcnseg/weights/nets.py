"""The published nets: told by the names and shapes of their layers, each with the mean that its training subtracted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fcnseg.weights.normalization import CAFFE

Shapes = Mapping[str, Sequence[int]]
"""{layer.weight: shape, layer.bias: ...}, all that it takes to tell a net."""

VGG = frozenset(f"conv{stage}_{i + 1}" for stage, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(count))
VGG19 = VGG | {"conv3_4", "conv4_4", "conv5_4"}
CAFFENET = frozenset(f"conv{number}" for number in range(1, 6))
HIDDEN = frozenset({"fc6", "fc7"})
INCEPTION = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
GOOGLENET = frozenset({"conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"}) | {
    f"inception_{module}/{path}"
    for module in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    for path in INCEPTION
}
"""Layers of the published classifiers, without the last one. The tests hold them against the backbones, which lie above
this module and cannot be asked here."""

FCN32S = VGG | HIDDEN | {"score_fr"}
"""Layers of the coarsest of the authors' nets on VGG 16, which the finer ones have too."""

TELLING = ("conv", "inception_", "fc", "score", "scale_", "loss3/")
"""How the layers begin that tell a net; upsampling and what only training needs tell nothing."""

CAFFE_MEAN = ",".join(map(str, CAFFE.mean))
"""Red, green and blue as the authors' nets and CaffeNet subtract them."""

VGG_MEAN = "123.68,116.779,103.939"
"""What VGG's authors subtract."""

GOOGLENET_MEAN = "123,117,104"
"""What BVLC's GoogLeNet subtracts."""

PYTORCH_FCN_MEAN = "122.67891434,116.66876762,104.00698793"
"""What pytorch-fcn subtracts, with more digits than the authors."""

UNKNOWN = "unknown"
"""The name of any other net."""

AT_ONCE = "voc-fcn8s-atonce"
"""The net whose skips are multiplied by factors."""


class Net(NamedTuple):
    """A published net, as its file shows it.

    Attributes:
        layers: layers that it must have.
        first: the layer that reads the image.
        kernel: side of that layer's kernel; the same names stand in other nets too.
        classes: outputs of every layer that gives scores.
        marks: further layers that it may have, and has where nobody says which net it is.
        mean: red, green and blue on 0..255 that its training subtracted.
    """

    layers: frozenset[str]
    first: str
    kernel: int
    classes: int
    marks: frozenset[str] = frozenset()
    mean: str = CAFFE_MEAN


SCORES = ("score", "fc8", "loss3/")
"""How the layers begin that give scores."""

FC8 = frozenset({"fc8"})
FACTORS = frozenset({"scale_pool4", "scale_pool3"})

NETS = {
    AT_ONCE: Net(FCN32S | {"score_pool4", "score_pool3"}, "conv1_1", 3, 21, FACTORS),
    "voc-fcn8s": Net(FCN32S | {"score_pool4", "score_pool3"}, "conv1_1", 3, 21),
    "voc-fcn16s": Net(FCN32S | {"score_pool4"}, "conv1_1", 3, 21),
    "voc-fcn32s": Net(FCN32S, "conv1_1", 3, 21),
    "voc-fcn-alexnet": Net(CAFFENET | HIDDEN | {"score_fr"}, "conv1", 11, 21),
    "vgg16": Net(VGG | HIDDEN, "conv1_1", 3, 1000, FC8, VGG_MEAN),
    "vgg19": Net(VGG19 | HIDDEN, "conv1_1", 3, 1000, FC8, VGG_MEAN),
    "caffenet": Net(CAFFENET | HIDDEN, "conv1", 11, 1000, FC8),
    "bvlc_googlenet": Net(GOOGLENET, "conv1/7x7_s2", 7, 1000, frozenset({"loss3/classifier"}), GOOGLENET_MEAN),
}
"""The nets by name; a classifier has the name of its backbone."""


def layers_of(names: Iterable[str]) -> set[str]:
    """Returns the layers that a file's tensors belong to."""
    return {name.rpartition(".")[0] for name in names}


def detected(shapes: Shapes) -> str:
    """Returns the name of the net that has these layers, all its marks among them: one of NETS, or "unknown".

    Args:
        shapes: of the file's tensors.
    """
    layers = layers_of(shapes)
    found = (name for name, net in NETS.items() if net.marks <= layers and not differences(name, shapes))
    return next(found, UNKNOWN)


def differences(name: str, shapes: Shapes) -> list[str]:
    """Says what keeps a file from being a net, its marks left aside; nothing where it may be that net.

    Args:
        name: one of NETS.
        shapes: of the file's tensors.
    """
    net, layers = NETS[name], layers_of(shapes)
    said: list[str] = []
    if lacking := sorted(net.layers - layers):
        said.append(f"it lacks {_listed(lacking)}")
    if more := sorted(layer for layer in layers - net.layers - net.marks if layer.startswith(TELLING)):
        said.append(f"it has {_listed(more)} besides")
    first = tuple(shapes.get(f"{net.first}.weight", ()))
    if first and first[1:] != (3, net.kernel, net.kernel):
        said.append(f"{net.first} has the shape {list(first)}, needed [*, 3, {net.kernel}, {net.kernel}]")
    for layer in sorted(layer for layer in (net.layers | net.marks) & layers if layer.startswith(SCORES)):
        outputs = shapes.get(f"{layer}.weight", ())
        if outputs and outputs[0] != net.classes:
            said.append(f"{layer} has {outputs[0]} classes, needed {net.classes}")
    return said


def _listed(layers: Sequence[str]) -> str:
    return ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")


def inputs_of(name: str, mean: str | None = None) -> dict[str, str]:
    """Returns what metadata says of a net's inputs: normalization and mean; nothing of an unknown net.

    Args:
        name: as ``detected`` returns it.
        mean: where the file is a port that subtracts another one than the original.
    """
    return {"normalization": "caffe", "mean": mean or NETS[name].mean} if name in NETS else {}
