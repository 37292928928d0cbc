"""The one base class of backbones: runs a list of layers and offers the tapped maps by stride."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fcnseg.backbones.convolution import Convolution, fastest_format
from fcnseg.backbones.dense import Last, taken_last
from fcnseg.backbones.head import Head
from fcnseg.backbones.heap import TRIMMER
from fcnseg.backbones.layers import (
    BatchNorm,
    Concat,
    Conv,
    Layer,
    Sum,
    Tap,
    conv_depth,
    grid_after,
    named_layers,
    sections,
    up_to,
)
from fcnseg.backbones.plan import Plan, inside, plans
from fcnseg.backbones.window import Borders, run
from fcnseg.geometry import IMAGE, Grid
from fcnseg.shapes import Features, Images
from fcnseg.weights.normalization import CAFFE, TORCHVISION, Normalization, widened

Padding = int | str
"""Zeros around the image in pixels, or "same"."""

PADDING_MODES = ("window", "plain")
"""What padding_mode may say: the same function computed where the image is seen, or everywhere."""

BATCH_NORMS = ("frozen", "batch")
"""What batch_norm may say: the statistics of the weights, or those of each batch."""


class Backbone(nn.Module):
    """A classifier turned fully convolutional, ending in feature maps instead of scores.

    A subclass names its layers and where published weights put their values; everything else (strides, crops,
    receptive field, parameter count) follows from the layers.

    Attributes:
        padding_default: what ``padding=None`` means for this net.
        normalization_default: statistics used without pretrained weights.
        imagenet_normalization: statistics of torchvision's ImageNet weights of this net.
        torchvision_model: name of torchvision's classifier with the same layers, the source of weights "imagenet";
            None where torchvision has none.
        torchvision_names: {our layer: torchvision's layer}, the classifier's last one included.
        caffe_weights: name of the original Caffe weights in weights/released.py; None where there are none.
        classifier_padding: pixels with which the classifier's own first convolution is padded.
        head: what the classifier has behind these layers.
        dropout_default: fraction of elements that the classifier drops.
        layers: the layers as data.
        dropped: names of those that end_at has taken away.
        normalization: the statistics that forward applies.
    """

    padding_default: ClassVar[Padding] = "same"
    normalization_default: ClassVar[Normalization] = CAFFE
    imagenet_normalization: ClassVar[Normalization] = TORCHVISION
    torchvision_model: ClassVar[str | None] = None
    torchvision_names: ClassVar[Mapping[str, str]] = {}
    caffe_weights: ClassVar[str | None] = None
    classifier_padding: ClassVar[int] = 0
    head: ClassVar[Head]
    dropout_default: ClassVar[float] = 0.5

    def __init__(
        self,
        padding: Padding | None = None,
        normalization: Normalization | None = None,
        dropout: float | None = None,
        in_channels: int = 3,
        batch_norm: str = "frozen",
        padding_mode: str = "window",
        checkpointing: bool = False,
    ) -> None:
        """Builds the layers with He-initialised filters and zero biases.

        Args:
            padding: pixels of zeros around the image, or "same"; None takes the net's default.
            normalization: how images become inputs; None takes the net's default.
            dropout: fraction of elements dropped where the classifier drops them; None takes the classifier's own.
            in_channels: channels of the images.
            batch_norm: "frozen" normalises with the statistics of the weights in training too, so that images do not
                depend on their batch; "batch" with those of each batch.
            padding_mode: "window" leaves out what the padding makes of itself; "plain" computes all of it, by
                direct sums; see window.
            checkpointing: keep the maps behind poolings alone, and compute the others again for the gradient.

        Raises:
            ValueError: a padding that is neither "same" nor a number of pixels, dropout outside 0..1, no channels, or
                an unknown batch_norm or padding_mode.
        """
        super().__init__()
        padding = self.padding_default if padding is None else padding
        if padding != "same" and not (isinstance(padding, int) and padding >= 0):
            raise ValueError(f'backbone.padding must be "same" or a number of pixels >= 0, not {padding!r}')
        dropout = self.dropout_default if dropout is None else dropout
        if not 0 <= dropout < 1:
            raise ValueError(f"backbone.dropout must be at least 0 and below 1, not {dropout}")
        if in_channels < 1:
            raise ValueError(f"backbone.in_channels must be at least 1, not {in_channels}")
        for key, value, choices in (
            ("batch_norm", batch_norm, BATCH_NORMS),
            ("padding_mode", padding_mode, PADDING_MODES),
        ):
            if value not in choices:
                raise ValueError(f"backbone.{key} must be one of {', '.join(choices)}, not {value!r}")
        self.in_channels, self.batch_norm, self.padding_mode = in_channels, batch_norm, padding_mode
        self.checkpointing, self._borders = checkpointing, Borders()
        first, *others = self.make_layers(padding, dropout)
        self.layers: tuple[Layer, ...] = (replace(cast(Conv, first), inputs=in_channels), *others)
        self.dropped: tuple[str, ...] = ()
        for layer in named_layers(self.layers):
            self.add_module(layer.name, layer.module())
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)
        self.normalize_with(normalization or self.normalization_default)
        self._initialise(direct=padding_mode == "plain")
        self.train()

    @classmethod
    def make_layers(cls, padding: Padding, dropout: float) -> Sequence[Layer]:
        """Returns the layers of this net for the given padding and dropout."""
        raise NotImplementedError(f"{cls.__name__} must say its layers")

    @property
    def channels(self) -> dict[int, int]:
        """Channels of each offered map by stride, finest first."""
        return {grid.stride: channels for grid, channels in self._taps()}

    @property
    def grids(self) -> dict[int, Grid]:
        """Grid of each offered map by stride, finest first."""
        return {grid.stride: grid for grid, _ in self._taps()}

    @property
    def conv_layers(self) -> int:
        """Convolutions on the longest path."""
        return conv_depth(self.layers)

    @property
    def classifier_field(self) -> int:
        """Receptive field of the classifier, whose final pooling widens that of the coarsest map."""
        coarsest = max(self.grids.values(), key=lambda grid: grid.stride)
        return coarsest.conv(self.head.pool).field

    def _taps(self) -> list[tuple[Grid, int]]:
        taps: list[tuple[Grid, int]] = []
        grid_after(self.layers, IMAGE, lambda grid, channels: taps.append((grid, channels)))
        return taps

    def end_at(self, stride: int) -> None:
        """Drops the layers behind the map of this stride, which becomes the coarsest."""
        kept = up_to(self.layers, stride)
        for layer in named_layers(self.layers[len(kept) :]):
            delattr(self, layer.name)
            self.dropped += (layer.name,)
        self.layers = kept

    def normalize_with(self, normalization: Normalization) -> None:
        """Sets the statistics that forward applies, those that the weights were trained with.

        For other than three channels they are extended: one channel takes the average, further ones too.
        """
        normalization = widened(normalization, self.in_channels)
        self.normalization, like = normalization, self.mean
        self.mean = torch.tensor(normalization.mean, dtype=like.dtype, device=like.device)
        self.std = torch.tensor(normalization.std, dtype=like.dtype, device=like.device)

    def normalize(self, images: Images) -> Tensor:
        """Turns RGB images on the 0..255 scale into the inputs that the weights expect.

        Args:
            images: [n, c, h, w], uint8 or float, red, green and blue first.

        Returns:
            [n, c, h, w] in the parameters' type, in the weights' channel order.

        Raises:
            ValueError: the images do not have the backbone's number of channels.
        """
        mean, std = self.mean, self.std
        if images.shape[1] != len(mean):
            raise ValueError(
                f"the backbone reads {len(mean)} channels, the images have {images.shape[1]}: "
                f"set backbone.in_channels={images.shape[1]}"
            )
        inputs = images.to(mean.dtype)
        if self.normalization.scale != 1:
            inputs = inputs / self.normalization.scale
        inputs = (inputs - mean[:, None, None]) / std[:, None, None]
        if self.normalization.order == "rgb" or self.in_channels < 3:
            return inputs
        return torch.cat([inputs[:, :3].flip(1), inputs[:, 3:]], dim=1) if self.in_channels > 3 else inputs.flip(1)

    def train(self, mode: bool = True) -> "Backbone":
        """Switches to training, with batch normalisation frozen if it is to be."""
        super().train(mode)
        if mode:
            self._borders.forget()
        if self.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Images, sizes: Tensor | None = None) -> dict[int, Features]:
        """Computes the offered feature maps.

        Args:
            images: [n, c, h, w] RGB on the 0..255 scale.
            sizes: [n, 2] heights and widths where the images of a batch were padded to one size; what lies
                beyond is set to zero after normalisation.

        Returns:
            {stride: features}, finest first.
        """
        inputs = self.normalize(images)
        if sizes is not None:
            inputs = inputs * inside(sizes, inputs.shape[2], inputs.shape[3]).to(inputs.dtype)[:, None]
        inputs = inputs.contiguous(memory_format=fastest_format(inputs.device.type))
        TRIMMER.before(inputs)
        last = taken_last(self.named_children())
        planned = self._plans(inputs.shape[2], inputs.shape[3])
        if planned is None:
            return self._whole(self.layers, Features(inputs, IMAGE), last)
        layers = self.layers[: planned[0].layers]
        modules = [None if isinstance(layer, Tap) else self.get_submodule(cast(Conv, layer).name) for layer in layers]
        whole, features = run(modules, layers, inputs, planned, self._borders, self._call)
        return features | self._whole(self.layers[len(layers) :], whole, last)

    def window_layers(self, height: int, width: int) -> int:
        """Returns how many layers are computed in the exact window for images of this size; 0 without it."""
        planned = self._plans(height, width)
        return planned[0].layers if planned else 0

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _plans(self, height: int, width: int) -> tuple[Plan, Plan] | None:
        """Plans the exact window; None where all is computed."""
        if self.padding_mode == "plain" or any(
            isinstance(module, nn.BatchNorm2d) and module.training for module in self.children()
        ):
            return None
        return plans(self.layers, height, width)

    def _call(self, function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Calls a stretch of layers, which under checkpointing keeps its inputs alone for the gradient."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(function, *tensors, use_reentrant=False)
        return function(*tensors)

    def _whole(self, layers: Sequence[Layer], source: Features, last: Mapping[str, Last]) -> dict[int, Features]:
        """Computes whole maps from layer to layer, and returns the tapped ones by stride."""
        (tensor, grid), taps = source, {}
        for first, stop in sections(layers):
            if isinstance(layers[first], Tap):
                taps[grid.stride] = Features(tensor, grid)
            else:
                tensor = self._call(partial(self._run, layers[first:stop], last), tensor)
                grid = grid_after(layers[first:stop], grid)
        return taps

    def _run(self, layers: Sequence[Layer], last: Mapping[str, Last], tensor: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, Concat):
                tensor = torch.cat([self._run(path, last, tensor) for path in layer.paths], dim=1)
            elif isinstance(layer, Sum):
                first, *others = [self._run(path, last, tensor) for path in layer.paths]
                tensor = functional.relu(sum(others, first))
            else:
                name = cast(Conv, layer).name
                module = self.get_submodule(name)
                tensor = module(tensor, last[name]) if name in last else module(tensor)
                if isinstance(layer, Conv | BatchNorm) and layer.relu:
                    tensor = functional.relu(tensor, inplace=True)
        return tensor

    def _initialise(self, direct: bool) -> None:
        for module in self.modules():
            if isinstance(module, Convolution):
                module.direct = direct
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
