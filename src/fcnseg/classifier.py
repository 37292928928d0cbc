"""The convolutionalised classifier: the original's scores at every place of an image of any size.

Paper: Sec. 3.1 and Fig. 2
"""

from functools import cached_property
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.backbones import backbone_class
from fcnseg.backbones.base import Backbone, Padding
from fcnseg.backbones.layers import cells_after
from fcnseg.backbones.pretrained import pretrained
from fcnseg.geometry import Grid
from fcnseg.shapes import Features, Images
from fcnseg.weights.normalization import Normalization
from fcnseg.weights.surgery import fitted


class Classifier(nn.Module):
    """A backbone and its classifier's last layer as a 1x1 convolution.

    Attributes:
        backbone: the layers up to the coarsest map.
        last: the last layer.
    """

    def __init__(self, backbone: Backbone) -> None:
        """Adds the last layer, untrained."""
        super().__init__()
        self.backbone = backbone
        self.last = nn.Conv2d(backbone.channels[max(backbone.grids)], backbone.head.classes, 1)

    @cached_property
    def smallest_side(self) -> int:
        """Side of the smallest square image that gives one place, in pixels."""
        return next(side for side in count(1) if self.places(side) > 0)

    def places(self, side: int) -> int:
        """Returns how many places a side of so many pixels has; none or fewer if it is too short."""
        for layer in self.backbone.layers:
            side = cells_after(layer, side)
        return side - self.backbone.head.pool + 1

    def forward(self, images: Images) -> Tensor:
        """Returns the logits at every place, [n, classes, rows, columns]; one place for the classifier's own size."""
        return self.scores(images).tensor

    def scores(self, images: Images) -> Features:
        """Computes the logits and where they look.

        Args:
            images: [n, c, h, w] RGB on the 0..255 scale.

        Raises:
            ValueError: the image is smaller than what the classifier needs.
        """
        head = self.backbone.head
        if min(images.shape[2:]) < (needed := self.smallest_side):
            raise ValueError(
                f"an image of {images.shape[2]}x{images.shape[3]} is smaller than the {needed} pixels that the "
                "classifier needs on each side: enlarge it"
            )
        tensor, grid = list(self.backbone(images).values())[-1]
        if head.pool_last:
            tensor = functional.avg_pool2d(functional.relu(self.last(tensor)), head.pool, stride=1)
        else:
            tensor = self.last(functional.avg_pool2d(tensor, head.pool, stride=1) if head.pool > 1 else tensor)
        return Features(tensor, grid.conv(head.pool))

    def load(self, weights: str | Path, stated: Normalization | None = None) -> str:
        """Fills every layer with the classifier's own weights.

        Args:
            weights: "imagenet", or a file that holds the last layer too.
            stated: the preprocessing of a file that does not say it itself.

        Returns:
            Where they came from.

        Raises:
            FileNotFoundError: no such file, or the download failed.
            ValueError: the file does not fit, lacks the last layer, or nobody says its preprocessing.
        """
        found, head = pretrained(type(self.backbone), weights, stated), self.backbone.head.layer
        ours = {layer: f"backbone.{layer}" for layer in _layers(self.backbone)} | {head: "last"}
        names = {ours[layer]: found.names.get(layer, layer) for layer in ours}
        self.load_state_dict(fitted(self, found.tensors, names, found.source), strict=False)
        self.backbone.normalize_with(found.normalization)
        return found.label


def create_classifier(backbone: str, padding: Padding | None = None) -> Classifier:
    """Builds an untrained convolutionalised classifier.

    Args:
        backbone: a module of fcnseg.backbones.
        padding: zeros around the image; None takes the classifier's own, so that the scores are the original's.

    Raises:
        ValueError: no such backbone or padding.
    """
    found = backbone_class(backbone)
    return Classifier(found(found.classifier_padding if padding is None else padding))


def spread(features: Features, size: tuple[int, int]) -> Tensor:
    """Interpolates a map over the image; each cell's value stands at the centre of what the cell sees.

    Args:
        features: [n, k, rows, columns] and their grid.
        size: height and width of the image.

    Returns:
        [n, k, h, w]; beyond the outermost cells their values go on.
    """
    rows, columns = (
        _places(features.grid, side, cells) for side, cells in zip(size, features.tensor.shape[2:], strict=True)
    )
    points = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
    points = points.to(features.tensor).expand(len(features.tensor), -1, -1, -1)
    return functional.grid_sample(features.tensor, points, mode="bilinear", padding_mode="border", align_corners=True)


def _places(grid: Grid, side: int, cells: int) -> Tensor:
    """Returns where the pixels lie among the cells, from -1 (the first cell) to 1 (the last)."""
    at = (torch.arange(side) - grid.offset) / grid.stride
    return at / max(1, cells - 1) * 2 - 1


def _layers(backbone: Backbone) -> list[str]:
    return sorted({name.rpartition(".")[0] for name in backbone.state_dict()})
