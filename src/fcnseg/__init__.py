"""fcnseg: the laboratory for Fully Convolutional Networks for Semantic Segmentation (Long, Shelhamer, Darrell).

From a notebook: ``fcnseg.create_model("fcn8s", backbone="vgg16")``. From a shell: ``python -m fcnseg.train``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcnseg.fcn import FCN

__all__ = ["__version__", "create_model"]
__version__ = "0.1.0"

OUTPUT_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, "fcn8s_atonce": 8, "fcn16s_pool4": 16}
"""Nets that create_model knows, and the stride of the finest map that each scores."""


def create_model(
    name: str,
    *,
    backbone: str = "vgg16",
    num_classes: int = 21,
    weights: str | Path | None = None,
    padding: int | str | None = None,
    dropout: float | None = None,
    normalization: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    in_channels: int = 3,
    batch_norm: str | None = None,
    padding_mode: str = "window",
    checkpointing: bool = False,
    learn_intermediate: bool = False,
    learn_final: bool = False,
) -> "FCN":
    """Builds a net without any configuration: images [n, c, h, w] RGB 0..255 in, logits [n, k, h, w] out.

    Args:
        name: fcn32s, fcn16s, fcn8s, fcn8s_atonce, or fcn16s_pool4 (no stream coarser than stride 16).
        backbone: a module of fcnseg.backbones, such as vgg16, caffenet or resnet50.
        num_classes: classes including background.
        weights: of the backbone: None, "imagenet", or a file.
        padding: zeros around the image in pixels, or "same"; None takes the backbone's own.
        dropout: fraction of elements dropped in training; None takes the classifier's own.
        normalization: "caffe" or "torchvision"; needed for files that do not say it themselves.
        mean: red, green, blue, further channels, on the scale of the normalisation.
        std: likewise.
        in_channels: channels of the images.
        batch_norm: "frozen" or "batch"; None is frozen with weights, else batch.
        padding_mode: "window" or "plain", the same function; see backbones.window.
        checkpointing: keep less for the gradient and compute it again; see Backbone.
        learn_intermediate: learn the upsampling between skips, as in the CVPR paper.
        learn_final: learn the upsampling to pixels.

    Returns:
        The net, score layers zero, in training mode.

    Raises:
        FileNotFoundError: weights that are not there.
        ValueError: an unknown name, or weights and options that do not fit.
    """
    from fcnseg.backbones import backbone_class
    from fcnseg.backbones.dense import laid_out
    from fcnseg.backbones.pretrained import load_weights
    from fcnseg.fcn import AT_ONCE_SCALES, FCN
    from fcnseg.weights.normalization import stated

    if name not in OUTPUT_STRIDES:
        raise ValueError(f"there is no model {name!r}; choose one of {', '.join(OUTPUT_STRIDES)}")
    statistics = batch_norm or ("batch" if weights in (None, "none") else "frozen")
    trunk = backbone_class(backbone)(padding, None, dropout, in_channels, statistics, padding_mode, checkpointing)
    load_weights(trunk, weights, stated(normalization, mean, std, in_channels))
    net = FCN(
        trunk,
        num_classes,
        OUTPUT_STRIDES[name],
        scales=AT_ONCE_SCALES if name == "fcn8s_atonce" else (),
        learn_intermediate=learn_intermediate,
        learn_final=learn_final,
        coarsest=16 if name == "fcn16s_pool4" else None,
    )
    return laid_out(net, "cpu")
