"""How images become the inputs that a set of weights was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast


@dataclass(frozen=True)
class Normalization:
    """Per-channel statistics, always written in RGB order.

    Attributes:
        order: channel order of the inputs, "rgb" or "bgr".
        scale: images on the 0..255 scale are first divided by this: 1 or 255.
        mean: subtracted after scaling, red first.
        std: divided by after that, red first.
    """

    order: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


CAFFE = Normalization("bgr", 1.0, (122.67892, 116.66877, 104.00699), (1.0, 1.0, 1.0))
"""Caffe's inputs: BGR on 0..255 minus the mean that the authors' VOC nets subtract."""

TORCHVISION = Normalization("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Torchvision's inputs: RGB on 0..1, ImageNet's mean and standard deviation."""

NORMALIZATIONS = {"caffe": CAFFE, "torchvision": TORCHVISION}
"""What backbone.normalization may say."""


def widened(normalization: Normalization, channels: int) -> Normalization:
    """Extends three channels' statistics to another number: a channel that is none of the three takes their average."""

    def extended(values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) == channels:
            return values
        average = sum(values[:3]) / len(values[:3])
        return (average,) * channels if channels < 3 else (values[:3] + (average,) * channels)[:channels]

    return replace(normalization, mean=extended(normalization.mean), std=extended(normalization.std))


def normalization(
    name: str, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, channels: int = 3
) -> Normalization:
    """Returns a named normalisation, with other statistics where they are given.

    Args:
        name: "caffe" or "torchvision".
        mean: red, green, blue and further channels, on the scale of that normalisation (0..255 for caffe, 0..1 for
            torchvision).
        std: likewise.
        channels: how many there are.

    Raises:
        ValueError: an unknown name, statistics of another number of channels, a standard deviation of 0.
    """
    if name not in NORMALIZATIONS:
        raise ValueError(f"backbone.normalization must be one of {', '.join(NORMALIZATIONS)}, not {name!r}")
    result = widened(NORMALIZATIONS[name], channels)
    for key, values in (("mean", mean), ("std", std)):
        if values is None:
            continue
        if len(values) != len(result.mean) or (key == "std" and not all(values)):
            raise ValueError(
                f"backbone.{key} must be {channels} numbers (red, green, blue, further channels; std not 0): {values}"
            )
        changed = tuple(float(value) for value in values)
        result = replace(result, mean=changed) if key == "mean" else replace(result, std=changed)
    _check_scale(name, result)
    return result


def stated(
    name: str | None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, channels: int = 3
) -> Normalization | None:
    """Returns the normalisation that somebody states; None where it is left to the weights.

    Raises:
        ValueError: statistics without a name, or as ``normalization``.
    """
    if name is not None:
        return normalization(name, mean, std, channels)
    if mean or std:
        raise ValueError("backbone.mean and backbone.std need backbone.normalization=caffe or torchvision")
    return None


def settled(
    stated: Normalization | None, own: Normalization | None, source: str, own_statistics: bool = False
) -> Normalization:
    """Decides between what somebody states of weights and what belongs to them.

    Args:
        stated: by the configuration or the recipe; None leaves it to the weights.
        own: of the weights; None if they do not say.
        source: the weights, named in errors.
        own_statistics: whether the weights' own mean wins over a stated one that is merely its name's default.

    Raises:
        ValueError: nobody says, or the two contradict each other in channel order or scale.
    """
    if own is None and stated is None:
        raise ValueError(
            f"{source} does not say how its images were normalised: set backbone.normalization=caffe or torchvision, "
            "and backbone.mean=[red,green,blue] where its mean differs"
        )
    if own is None or stated is None:
        return cast(Normalization, stated or own)
    if (own.order, own.scale) != (stated.order, stated.scale):
        raise ValueError(
            f"{source} was trained on {own.order.upper()} images on 0..{255 / own.scale:g}, but backbone.normalization "
            f"says {stated.order.upper()} on 0..{255 / stated.scale:g}: leave backbone.normalization out, or set it to "
            f"{'caffe' if own.order == 'bgr' else 'torchvision'}"
        )
    # Torchvision's name says nothing of the statistics (GoogLeNet has others than the rest); Caffe's is the mean that
    # the authors subtract whatever the weights.
    unspecific = stated.order == "rgb" or own_statistics
    plain = any(widened(each, len(stated.mean)) == stated for each in NORMALIZATIONS.values())
    return own if unspecific and plain else stated


def _check_scale(name: str, result: Normalization) -> None:
    if result.scale == 1 and 0 < max(result.mean) <= 1:
        raise ValueError(
            f"backbone.mean={list(result.mean)} is on the 0..1 scale, but backbone.normalization={name} leaves images "
            "on 0..255: give the mean on 0..255, or set backbone.normalization=torchvision"
        )
    if result.scale != 1 and max(result.mean) > 1:
        raise ValueError(
            f"backbone.mean={list(result.mean)} is on the 0..255 scale, but backbone.normalization={name} divides "
            "images by 255 first: give the mean on 0..1, or set backbone.normalization=caffe"
        )


def from_metadata(metadata: dict[str, Any]) -> Normalization | None:
    """Reads the normalisation that a weights file carries in its metadata, if it carries one.

    Args:
        metadata: strings, as safetensors keeps them: normalization, and mean and std separated by commas.

    Raises:
        ValueError: as ``normalization``, or statistics that are no numbers.
    """
    if "normalization" not in metadata:
        return None
    mean, std = (_numbers(metadata.get(key)) for key in ("mean", "std"))
    return normalization(metadata["normalization"], mean, std, max(3, len(mean or std or ())))


def _numbers(text: str | None) -> list[float] | None:
    return None if text is None else [float(part) for part in text.split(",")]
