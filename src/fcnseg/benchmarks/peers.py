"""The nets that ours is compared with, where they are installed."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn
from torch.nn import functional

TORCHFCN = {
    "fcn32s": ("fcn32s", "FCN32s"),
    "fcn16s": ("fcn16s", "FCN16s"),
    "fcn8s": ("fcn8s", "FCN8s"),
    "fcn8s_atonce": ("fcn8s", "FCN8sAtOnce"),
}
"""{our name of a model: torchfcn's module and class}; all of them are VGG 16."""

PACKAGE = "fcnseg_peer_torchfcn"
"""The name under which torchfcn's models are imported, without its package, which needs much that they do not."""

REMEDY = "torchfcn is not here, so ours stands alone: `make bench` fetches it, --peers DIR names a folder that has it"
"""What is said where there is no torchfcn."""


def torchfcn_folder(peers: Path | None = None) -> Path | None:
    """Finds torchfcn's models.

    Args:
        peers: the folder of an unpacked torchfcn; None looks among the installed packages.

    Returns:
        The folder of its modules; None where it is not installed.

    Raises:
        FileNotFoundError: ``peers`` holds no torchfcn.
    """
    if peers is None:
        found = importlib.util.find_spec("torchfcn")  # finds the package without running it
        return Path(next(iter(found.submodule_search_locations or []))) / "models" if found else None
    for folder in (peers / "torchfcn" / "models", peers / "models", *sorted(peers.glob("torchfcn-*/torchfcn/models"))):
        if (folder / "fcn8s.py").is_file():
            return folder
    raise FileNotFoundError(f"--peers {peers}: there is no torchfcn/models/fcn8s.py in it; unpack torchfcn there")


def torchfcn_net(model: str, peers: Path | None = None) -> nn.Module:
    """Builds torchfcn's own net: inputs [n, 3, h, w], BGR minus Caffe's mean, to logits [n, 21, h, w].

    Args:
        model: our name of it.
        peers: as torchfcn_folder.

    Raises:
        FileNotFoundError: torchfcn is not here.
        ValueError: it has no such model.
    """
    folder = torchfcn_folder(peers)
    if folder is None:
        raise FileNotFoundError(REMEDY)
    if model not in TORCHFCN:
        raise ValueError(f"torchfcn has no {model}; it has {', '.join(TORCHFCN)}")
    module, name = TORCHFCN[model]
    with _importable(folder):
        net = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)()
    assert isinstance(net, nn.Module)
    return net


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Puts a bare package over the folder; its modules import ``fcn`` for downloads alone, which stay out of reach."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(folder)]
    before = {name: sys.modules.get(name) for name in ("fcn", PACKAGE)}
    loaded = {name for name in sys.modules if name.startswith(f"{PACKAGE}.")}
    sys.modules.update({"fcn": ModuleType("fcn"), PACKAGE: package})
    for name in loaded:
        del sys.modules[name]
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class TorchvisionFCN(nn.Module):
    """torchvision's fcn_resnet50, another net of the name: a dilated ResNet 50 with one head of stride 8."""

    def __init__(self, num_classes: int = 21) -> None:
        """Builds it without weights and without its auxiliary head."""
        super().__init__()
        from torchvision.models.segmentation import fcn_resnet50

        self.net = fcn_resnet50(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False)

    def forward(self, images: Tensor) -> Tensor:
        """Scores every pixel of normalised images [n, 3, h, w]."""
        logits: Tensor = self.net(images)["out"]
        return logits


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Computes the loss as torchfcn's trainer does, in its steps: all logits to pixel-major order, then a mask.

    Args:
        logits: [n, k, h, w].
        targets: [n, h, w] int64, negative where void.
    """
    scores = functional.log_softmax(logits, dim=1).permute(0, 2, 3, 1).contiguous()
    valid = targets >= 0
    chosen = scores[valid[..., None].repeat(1, 1, 1, scores.shape[3])].view(-1, scores.shape[3])
    return functional.nll_loss(chosen, targets[valid], reduction="sum")
