"""The vocabulary: what flows between the parts, and in which shape.

The letters mean the same everywhere: n images, c channels, h and w pixels, k classes. The annotations are
jaxtyping's; they are checked while the tests run and cost nothing otherwise.
"""

from typing import NamedTuple, TypeAlias

from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from fcnseg.geometry import Grid

Images: TypeAlias = Shaped[Tensor, "n c h w"]
"""On the 0..255 scale, RGB where there are three channels: uint8 from the loader, any float type after that."""

Targets: TypeAlias = Integer[Tensor, "n h w"]
"""Class of each pixel; the data set says which value is void (255 for VOC, -1 above 255 classes)."""

Logits: TypeAlias = Float[Tensor, "n k h w"]
"""One score a class and pixel, before the softmax."""

Predictions: TypeAlias = Integer[Tensor, "n h w"]
"""The best class of each pixel; never void."""

VOID = 255
"""VOC's label for pixels that belong to no class: object borders and difficult objects."""


class Features(NamedTuple):
    """A feature map together with the pixels that its cells look at.

    Attributes:
        tensor: [n, c, rows, columns].
        grid: where cell (i, j) is centred in the image and how much it sees.
    """

    tensor: Float[Tensor, "n c rows columns"]
    grid: Grid


class Batch(NamedTuple):
    """What a data loader hands to the task.

    Attributes:
        images: [n, c, h, w] uint8.
        targets: [n, h, w], void included; uint8, or int32 where classes or void do not fit in there.
        sizes: [n, 2] height and width of each image before any padding of the batch.
        indices: [n] position of each image in its data set.
        names: the images' ids, for error messages and pictures.
        jitter: [n, 4] factors of the colour jitter that the images are still due, see fcnseg.data.jitter; None is none.
        chances: [n] int64, from which the loss draws what it samples of each image; None where it samples nothing.
    """

    images: Shaped[Tensor, "n c h w"]
    targets: Integer[Tensor, "n h w"]
    sizes: Integer[Tensor, "n 2"]
    indices: Integer[Tensor, " n"]
    names: list[str]
    jitter: Float[Tensor, "n 4"] | None = None
    chances: Integer[Tensor, " n"] | None = None
