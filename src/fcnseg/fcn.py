"""The paper's network: score layers, skips and upsampling. 32s, 16s and 8s are one class and one integer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcnseg.backbones.base import Backbone
from fcnseg.geometry import IMAGE, Grid, bilinear_kernel_size
from fcnseg.shapes import Features, Images, Logits

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

        Raises:
            ValueError: a stride that the backbone does not offer, or fewer than two classes.
        """
        super().__init__()
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
        """Names the score layer at a stride as the authors do: score_fr, score_pool4, score_pool3."""
        coarsest = stride == max(self.backbone.grids)
        return "score_fr" if coarsest else f"score_pool{stride.bit_length() - 1}"

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

    def upsample(self, scores: Features, size: tuple[int, int]) -> Logits:
        """Upsamples fused scores to pixels and crops them to the image.

        Args:
            scores: from ``scores``.
            size: height and width of the image.

        Raises:
            ValueError: the map does not reach to the image's end, because the backbone's padding is too small.
        """
        tensor, grid = scores
        layer = cast(Upsampling, self.get_submodule(f"upsample{grid.stride}"))
        crop = grid.upsample(layer.kernel, layer.factor).crop_to(IMAGE)
        covered = [max(0, (side - 1) * layer.factor + layer.kernel - crop) for side in tensor.shape[2:]]
        if crop < 0 or covered[0] < size[0] or covered[1] < size[1]:
            raise ValueError(
                f"the scores cover {covered[0]}x{covered[1]} pixels of an image of {size[0]}x{size[1]}: "
                "backbone.padding is too small; take its default or backbone.padding=same"
            )
        return cast(Tensor, layer(tensor.float() if tensor.itemsize < 4 else tensor, crop, size))

    def _score(self, features: Features) -> Features:
        tensor, grid = features
        if grid.stride in self.scales:
            tensor = tensor * self.scales[grid.stride]
        return Features(self.get_submodule(self.score_name(grid.stride))(tensor), grid)

    def _upsampled(self, scores: Features) -> Features:
        layer = cast(Upsampling, self.get_submodule(f"upsample{scores.grid.stride}"))
        return Features(layer(scores.tensor), scores.grid.upsample(layer.kernel, layer.factor))

    def describe(self) -> Description:
        """Derives strides, receptive field, crops and counts from the layers; works on the meta device too."""
        grids = self.backbone.grids
        coarsest = grids[self.strides[0]]
        grid, crops = coarsest, []
        for target in [*(grids[stride] for stride in self.strides[1:]), IMAGE]:
            layer = cast(Upsampling, self.get_submodule(f"upsample{grid.stride}"))
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


class Upsampling(nn.Module):
    """Fixed bilinear upsampling: the transposed convolution with a bilinear kernel, computed by interpolation.

    With a kernel of 2s or 2s - 1 the transposed convolution is interpolation of the map with one cell of zeros around
    it, so no kernel is stored.

    Attributes:
        kernel: side of the equivalent kernel.
        factor: cells of the result per cell of the map.
    """

    def __init__(self, channels: int, kernel: int, factor: int) -> None:
        """Remembers the shape; ``channels`` is for learned layers."""
        super().__init__()
        self.channels, self.kernel, self.factor = channels, kernel, factor

    def forward(self, scores: Tensor, first: int = 0, size: tuple[int, int] | None = None) -> Tensor:
        """Upsamples [n, k, rows, columns] to [n, k, (rows - 1) * factor + kernel, ...].

        Args:
            scores: the coarse map.
            first: cells of the result to leave out at the top and the left.
            size: rows and columns to keep from there; None keeps all.
        """
        odd = self.kernel % 2
        padded = functional.pad(scores, (1, 1, 1, 1))
        fine = functional.interpolate(
            padded,
            [(side - odd) * self.factor + odd for side in padded.shape[2:]],
            mode="bilinear",
            align_corners=bool(odd),
        )
        border = 1 if odd else self.factor // 2
        if size is None:
            size = (fine.shape[2] - 2 * border - first, fine.shape[3] - 2 * border - first)
        return window(fine, border + first, size)


class LearnedUpsampling(Upsampling):
    """A transposed convolution that starts bilinear and is learned, every class from every class."""

    def __init__(self, channels: int, kernel: int, factor: int) -> None:
        """Builds the kernel [k, k, kernel, kernel], bilinear on the diagonal of classes."""
        super().__init__(channels, kernel, factor)
        self.weight = nn.Parameter(torch.zeros(channels, channels, kernel, kernel))
        if not self.weight.is_meta:
            diagonal = torch.arange(channels)
            self.weight.data[diagonal, diagonal] = bilinear_kernel(kernel)

    def forward(self, scores: Tensor, first: int = 0, size: tuple[int, int] | None = None) -> Tensor:
        """Upsamples as the base class does, with the learned kernel."""
        fine = functional.conv_transpose2d(scores, self.weight, stride=self.factor)
        return window(fine, first, size or (fine.shape[2] - first, fine.shape[3] - first))


def window(tensor: Tensor, first: int, size: tuple[int, int]) -> Tensor:
    """Returns rows and columns ``first`` to ``first + size`` of [n, k, h, w]."""
    return tensor[:, :, first : first + size[0], first : first + size[1]]


def bilinear_kernel(size: int) -> Tensor:
    """Returns the [size, size] kernel of bilinear upsampling."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line


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
