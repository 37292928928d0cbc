"""The paper's network: score layers, skips and upsampling. 32s, 16s and 8s are one class and one integer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from fcnseg.backbones.base import Backbone
from fcnseg.geometry import IMAGE, Grid, bilinear_kernel_size
from fcnseg.shapes import Features, Images, Logits, Predictions
from fcnseg.upsampling import LearnedUpsampling, Upsampling, bands

AT_ONCE_SCALES = (0.01, 0.0001)
"""Factors on pool4 and pool3 with which the authors train all three streams at once."""


@dataclass(frozen=True)
class Description:
    """What can be said of a net without running it.

    Attributes:
        receptive_field: side of the square of pixels that one cell of the coarsest map sees.
        classifier_field: the same for the classifier, whose final average pooling (GoogLeNet) widens it.
        max_stride: stride of the coarsest map.
        conv_layers: convolutions on the longest path, the score layer included.
        parameters: number of parameters, fixed upsampling not counted.
        crops: cells cut from each skip before it is added, coarsest first, then pixels cut from the final
            upsampling; a negative number is cut from the upsampled map instead.
    """

    receptive_field: int
    classifier_field: int
    max_stride: int
    conv_layers: int
    parameters: int
    crops: tuple[int, ...]


class FCN(nn.Module):
    """A fully convolutional network with skips down to a prediction stride.

    The coarsest map of the backbone is scored by a 1x1 convolution, upsampled two times, added to the scores of
    the next finer map, and so on down to ``output_stride``; the fused map is then upsampled to pixels.

    Paper: Sec. 4.2
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int = 21,
        output_stride: int = 8,
        *,
        scales: Sequence[float] = (),
        learn_intermediate: bool = False,
        learn_final: bool = False,
        coarsest: int | None = None,
    ) -> None:
        """Adds zero score layers and bilinear upsampling to a backbone.

        Args:
            backbone: offers feature maps by stride.
            num_classes: classes including background.
            output_stride: stride of the finest map that is scored, 32, 16 or 8 for VGG 16.
            scales: factors on the skips before their score layers, coarsest skip first, as in the at-once nets;
                skips beyond the list are not scaled.
            learn_intermediate: whether upsampling between skips is learned, as in the CVPR paper.
            learn_final: whether the upsampling to pixels is learned.
            coarsest: stride of the coarsest map that is scored; the backbone is cut behind it. None takes its own.

        Raises:
            ValueError: a stride that the backbone does not offer, or fewer than two classes.
        """
        super().__init__()
        if coarsest is not None:
            if coarsest not in backbone.grids or coarsest < output_stride:
                raise ValueError(_coarsest_refusal(backbone, coarsest, output_stride))
            backbone.end_at(coarsest)
        grids = backbone.grids
        if output_stride not in grids:
            raise ValueError(_refusal(backbone, output_stride))
        if num_classes < 2:
            raise ValueError(f"model.num_classes counts background, so it is at least 2, not {num_classes}")
        self.backbone = backbone
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.strides = sorted((stride for stride in grids if stride >= output_stride), reverse=True)
        self.scales = dict(zip(self.strides[1:], scales, strict=False))
        for stride in self.strides:
            self.add_module(self.score_name(stride), _score_layer(backbone.channels[stride], num_classes))
        grid = grids[self.strides[0]]
        for finer in self.strides[1:]:
            grid = self._add_upsampling(grid, grids[finer], learn_intermediate)
        self._add_upsampling(grid, IMAGE, learn_final)

    def _add_upsampling(self, source: Grid, target: Grid, learned: bool) -> Grid:
        kernel, factor = bilinear_kernel_size(source, target), source.stride // target.stride
        layer = LearnedUpsampling if learned else Upsampling
        self.add_module(f"upsample{source.stride}", layer(self.num_classes, kernel, factor))
        return source.upsample(kernel, factor)

    def score_name(self, stride: int) -> str:
        """Names the score layer at a stride as the authors do: score_fr behind the last, else score_pool4 or 3."""
        classifies = stride == max(self.backbone.grids) and not self.backbone.dropped
        return "score_fr" if classifies else f"score_pool{stride.bit_length() - 1}"

    @property
    def score_layers(self) -> list[nn.Module]:
        """The 1x1 convolutions that give scores, coarsest first."""
        return [self.get_submodule(self.score_name(stride)) for stride in self.strides]

    def forward(self, images: Images, sizes: Tensor | None = None) -> Logits:
        """Scores every pixel.

        Args:
            images: [n, 3, h, w] RGB on the 0..255 scale, any size from 1x1 up.
            sizes: [n, 2] where the images were padded to one size; see Backbone.forward.

        Returns:
            [n, k, h, w], exactly the images' height and width.

        Raises:
            ValueError: the backbone's padding is too small for an image of this size.
        """
        return self.upsample(self.scores(images, sizes), (images.shape[2], images.shape[3]))

    def scores(self, images: Images, sizes: Tensor | None = None) -> Features:
        """Computes the fused score map at ``output_stride``, before the last upsampling; arguments as forward."""
        features = self.backbone(images, sizes)
        fused = self._score(features[self.strides[0]])
        for stride in self.strides[1:]:
            fused = fuse(self._upsampled(fused), self._score(features[stride]))
        return fused

    def upsample(self, scores: Features, size: tuple[int, int], rows: tuple[int, int] | None = None) -> Logits:
        """Upsamples fused scores to pixels and crops them to the image.

        Args:
            scores: from ``scores``.
            size: height and width of the image.
            rows: first row of pixels that is wanted, and the one behind the last; None is the whole image.

        Raises:
            ValueError: the map does not reach to the image's end, because the backbone's padding is too small.
        """
        tensor, grid = scores
        layer = self._upsampling(grid)
        crop = grid.upsample(layer.kernel, layer.factor).crop_to(IMAGE)
        covered = [max(0, layer.reach(side) - crop) for side in tensor.shape[2:]]
        if crop < 0 or covered[0] < size[0] or covered[1] < size[1]:
            raise ValueError(
                f"the scores cover {covered[0]}x{covered[1]} pixels of an image of {size[0]}x{size[1]}: "
                "backbone.padding is too small; take its default or backbone.padding=same"
            )
        first, behind = rows or (0, size[0])
        window = slice(crop + first, crop + behind), slice(crop, crop + size[1])
        return cast(Tensor, layer(tensor.float() if tensor.itemsize < 4 else tensor, window))

    def predict(self, scores: Features, size: tuple[int, int]) -> Predictions:
        """Returns the best class of every pixel, band by band, so that no logits of a whole image are held.

        Args:
            scores: from ``scores``.
            size: height and width of the image.

        Returns:
            [n, h, w], uint8 where the classes fit in there, else int32.
        """
        with torch.no_grad():
            parts = [best_classes(self.upsample(scores, size, rows)) for rows in bands(scores.tensor, size)]
        return torch.cat(parts, dim=1)

    def _upsampling(self, grid: Grid) -> Upsampling:
        return cast(Upsampling, self.get_submodule(f"upsample{grid.stride}"))

    def _score(self, features: Features) -> Features:
        tensor, grid = features
        if grid.stride in self.scales:
            tensor = tensor * self.scales[grid.stride]
        return Features(self.get_submodule(self.score_name(grid.stride))(tensor), grid)

    def _upsampled(self, scores: Features) -> Features:
        layer = self._upsampling(scores.grid)
        return Features(layer(scores.tensor), scores.grid.upsample(layer.kernel, layer.factor))

    def describe(self) -> Description:
        """Derives strides, receptive field, crops and counts from the layers; works on the meta device too."""
        grids = self.backbone.grids
        coarsest = grids[self.strides[0]]
        grid, crops = coarsest, []
        for target in [*(grids[stride] for stride in self.strides[1:]), IMAGE]:
            layer = self._upsampling(grid)
            grid = grid.upsample(layer.kernel, layer.factor)
            skip = target.crop_to(grid)
            crops.append(grid.crop_to(IMAGE) if target is IMAGE else skip)
            grid = grid.crop(max(0, -skip))
        return Description(
            receptive_field=coarsest.field,
            classifier_field=self.backbone.classifier_field,
            max_stride=coarsest.stride,
            conv_layers=self.backbone.conv_layers + 1,
            parameters=sum(parameter.numel() for parameter in self.parameters()),
            crops=tuple(crops),
        )


def best_classes(logits: Logits) -> Predictions:
    """Returns the best class of every pixel [n, h, w], uint8 where the classes fit in there, else int32.

    On a CPU torch's argmax is many times slower than its maximum with indices, except over channels_last's channels.
    """
    return logits.max(1).indices.to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)


def fuse(coarse: Features, skip: Features) -> Features:
    """Adds two score maps on the cells that both have.

    Raises:
        ValueError: the cells of the two never coincide.
    """
    cells = skip.grid.crop_to(coarse.grid)
    first, second = coarse.tensor, skip.tensor
    if cells >= 0:
        second, grid = second[:, :, cells:, cells:], coarse.grid
    else:
        first, grid = first[:, :, -cells:, -cells:], skip.grid
    rows, columns = (min(first.shape[axis], second.shape[axis]) for axis in (2, 3))
    seen = Grid(grid.stride, grid.offset, max(coarse.grid.field, skip.grid.field))
    return Features(first[:, :, :rows, :columns] + second[:, :, :rows, :columns], seen)


def _score_layer(channels: int, num_classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


def _refusal(backbone: Backbone, output_stride: int) -> str:
    name, strides = type(backbone).__name__, sorted(backbone.grids, reverse=True)
    reason = f"its coarsest map has stride {strides[0]}" if output_stride > strides[0] else "it has no such map"
    offered = ", ".join(str(stride) for stride in strides)
    return f"model.output_stride={output_stride} is not to be had from {name}: {reason}; choose one of {offered}"


def _coarsest_refusal(backbone: Backbone, coarsest: int, output_stride: int) -> str:
    offered = ", ".join(str(stride) for stride in sorted(backbone.grids, reverse=True) if stride >= output_stride)
    return (
        f"model.coarsest={coarsest} is not to be had from {type(backbone).__name__} with "
        f"model.output_stride={output_stride}: choose one of {offered}, or null"
    )
