"""Colour jitter: the loader draws each image's factors, and the device applies them to a whole batch at once."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fcnseg.data.chance import between, numbers
from fcnseg.data.dataset import Draw, Factors, Sample
from fcnseg.shapes import Images

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Shares of the colours in grey."""

WHITE = 255.0

HUE = 0.1
"""Turns of hue for a strength of 1."""

KEY = -1
"""Tells these numbers from those of the steps of an augmentation, which count from 0."""


@dataclass(frozen=True)
class Jitter:
    """Draws factors, a function of (seed, epoch, index, turn) alone.

    Attributes:
        strength: factors are 1 - strength .. 1 + strength, hues that times HUE.
        seed: of the training.
    """

    strength: float
    seed: int

    def __call__(self, draw: Draw) -> Factors:
        """Returns the factors of an image."""
        chance = numbers(self.seed, draw.epoch, draw.index, draw.turn, KEY)
        brightness, contrast, saturation = (
            between(number, max(0.0, 1 - self.strength), 1 + self.strength) for number in chance[:3]
        )
        return brightness, contrast, saturation, between(chance[3], -HUE * self.strength, HUE * self.strength)


def jittered(images: Images, factors: Float[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Changes brightness, contrast, saturation and hue, in this order, each image by factors of its own.

    Args:
        images: [n, c, h, w] on the 0..255 scale; what are not three channels have no saturation and no hue.
        factors: on the same device.

    Returns:
        The images on the same scale, not rounded.
    """
    brightness, contrast, saturation, hue = factors[:, :, None, None, None].unbind(1)
    # Batches lie pixel by pixel; plane by plane a processor takes half the time.
    colours = (images.contiguous() * brightness).clamp(0, WHITE)
    coloured = images.shape[1] == 3
    middle = (_grey(colours) if coloured else colours).mean((1, 2, 3), keepdim=True)
    colours = middle.lerp(colours, contrast).clamp(0, WHITE)
    if not coloured:
        return colours
    return _turned(_grey(colours).lerp(colours, saturation).clamp(0, WHITE), hue)


def as_seen(sample: Sample) -> Sample:
    """Returns a sample with the image that the net is given, rounded to whole numbers."""
    if sample.factors is None:
        return sample
    image = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)
    seen = jittered(image[None], torch.tensor([sample.factors]))[0].permute(1, 2, 0)
    return replace(sample, image=seen.round().to(torch.uint8).numpy())


def _grey(colours: Tensor) -> Tensor:
    red, green, blue = colours.chunk(3, dim=1)
    return RED * red + GREEN * green + BLUE * blue


def _turned(colours: Tensor, turns: Tensor) -> Tensor:
    """Turns the hue; between its six corners, each colour falls and rises in a straight line."""
    red, green, blue = colours.chunk(3, dim=1)
    value = colours.amax(1, keepdim=True)
    chroma = value - colours.amin(1, keepdim=True)
    steps = chroma.clamp(min=torch.finfo(chroma.dtype).tiny)  # without any chroma, any hue will do
    others = torch.where(value == green, 2 + (blue - red) / steps, 4 + (red - green) / steps)
    hue = torch.where(value == red, (green - blue) / steps, others) + 6 * turns
    corners = torch.arange(5, 0, -2, dtype=hue.dtype, device=hue.device)[:, None, None]
    place = (hue + corners).remainder(6)
    return value - chroma * torch.minimum(place, 4 - place).clamp(0, 1)
