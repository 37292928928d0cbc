"""The nets that enter a comparison, all on the same images, with the same weights where the layers are the same."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fcnseg import create_model
from fcnseg.backbones import backbone_class
from fcnseg.backbones.dense import laid_out
from fcnseg.benchmarks.peers import TORCHFCN, TorchvisionFCN, torchfcn_folder, torchfcn_net
from fcnseg.fcn import FCN
from fcnseg.shapes import VOID, Images, Targets
from fcnseg.timing import checked_device
from fcnseg.weights.normalization import CAFFE

OURS, PLAIN = "ours", "ours, plain"
PEER, PEER_LAST = "torchfcn", "torchfcn, channels_last"
OTHER = "torchvision fcn_resnet50"

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What --precision may say."""

CLASSES = 21
"""VOC's, background included; torchfcn knows no others."""


@dataclass(frozen=True)
class Setting:
    """What all nets of a comparison share.

    Attributes:
        model: fcn32s, fcn16s, fcn8s or fcn8s_atonce.
        backbone: ours; torchfcn has vgg16 only.
        size: width and height of the images.
        batch: images a step.
        device: cpu or cuda.
        peers: where torchfcn lies, if it is not installed.

    Raises:
        ValueError: there is no such device here.
    """

    model: str = "fcn8s"
    backbone: str = "vgg16"
    size: tuple[int, int] = (500, 375)
    batch: int = 1
    device: str = "cpu"
    peers: Path | None = None

    def __post_init__(self) -> None:
        """Looks for the device."""
        checked_device(self.device)

    def __str__(self) -> str:
        """Names it in a title."""
        return f"{self.model}, {self.backbone}, {self.size[0]}x{self.size[1]}, batch {self.batch}"

    @property
    def images(self) -> str:
        """Names the images alone."""
        return f"{self.batch} images of {self.size[0]}x{self.size[1]}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, height and width."""
        return self.batch, self.size[1], self.size[0]


@dataclass(frozen=True)
class Entrant:
    """A net and the images in the form that it takes.

    Attributes:
        label: one of the names above.
        net: images to logits.
        images: [n, 3, h, w]; ours normalises inside, so it takes bytes, and the others get floats for nothing.
    """

    label: str
    net: nn.Module
    images: Tensor


def labels(setting: Setting, wanted: Sequence[str]) -> list[str]:
    """Returns those of the wanted entrants that can be had.

    torchfcn must be installed and have the net, and without padding around the image there is no window to leave out.

    Raises:
        ValueError: no such backbone.
        FileNotFoundError: no torchfcn where the setting says.
    """
    has_peer = torchfcn_folder(setting.peers) is not None and setting.backbone == "vgg16" and setting.model in TORCHFCN
    padded = backbone_class(setting.backbone).padding_default != "same"
    possible = {PEER: has_peer, PEER_LAST: has_peer, PLAIN: padded}
    return [label for label in wanted if possible.get(label, True)]


def images_of(setting: Setting) -> Images:
    """Draws bytes, the same for every entrant."""
    count, height, width = setting.shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    return images.to(setting.device)


def targets_of(setting: Setting) -> Targets:
    """Draws labels of which one in twenty is void."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, CLASSES, setting.shape, dtype=torch.uint8, generator=generator)
    void = torch.rand(setting.shape, generator=generator) < 0.05
    return targets.masked_fill(void, VOID).to(setting.device)


def entrant(label: str, setting: Setting, dtype: torch.dtype = torch.float32) -> Entrant:
    """Builds a net with weights of the given type.

    Args:
        label: which one.
        setting: what all share.
        dtype: of weights and inputs.

    Raises:
        ValueError: an unknown model or backbone, or one that torchfcn lacks.
    """
    images = images_of(setting)
    with torch.device(setting.device):
        net = _built(label, setting)
    fill(net)
    if label not in (OURS, PLAIN):
        images = normalized(images).to(dtype)
    net = net.to(setting.device, dtype)
    if label in (OURS, PLAIN):
        net = laid_out(net, torch.device(setting.device).type)
    elif label != PEER:  # its author leaves it in torch's default layout
        net = net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    return Entrant(label, net, images)


def _built(label: str, setting: Setting) -> nn.Module:
    if label in (OURS, PLAIN):
        return our_net(setting, "window" if label == OURS else "plain")
    return TorchvisionFCN(CLASSES) if label == OTHER else torchfcn_net(setting.model, setting.peers)


def our_net(setting: Setting, padding_mode: str = "window") -> FCN:
    """Builds ours, on torch's default device, as it is trained from ImageNet weights: batch normalisation frozen."""
    return create_model(
        setting.model,
        backbone=setting.backbone,
        num_classes=CLASSES,
        batch_norm="frozen",
        padding_mode=padding_mode,
    )


def normalized(images: Images) -> Tensor:
    """Turns bytes in RGB to what the authors' nets expect: BGR minus the mean."""
    mean = torch.tensor(CAFFE.mean, device=images.device)
    return (images - mean[:, None, None]).flip(1)


def fill(net: nn.Module) -> None:
    """Draws filters from their layer's own name, so that equal layers of two nets are equal.

    Zeros, with which torchfcn starts, would flatter whatever computes them.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            seed = zlib.crc32(name.removeprefix("backbone.").encode())
            spread = math.sqrt(2 / module.weight[0].numel())
            generator = torch.Generator(module.weight.device).manual_seed(seed)
            drawn = torch.empty_like(module.weight, memory_format=torch.contiguous_format)  # numbers fall in its order
            with torch.no_grad():
                module.weight.copy_(drawn.normal_(0, spread, generator=generator))
