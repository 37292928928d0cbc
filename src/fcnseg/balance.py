"""Weights and sampling rates of classes from how many pixels each has in the training masks.

Paper: Sec. 4.3: about 3/4 of the pixels are background, and balancing was unnecessary.
"""

from collections.abc import Sequence
from statistics import median

BALANCED = "balanced"
"""What loss.class_weights may say besides a list."""


def balanced_weights(pixels: Sequence[int], classes: int) -> list[float]:
    """Returns weights inversely proportional to the classes' frequencies, whose mean over all pixels is 1.

    With n pixels, of which class c has n(c), and k classes that occur, w(c) = n / (k n(c)): every class that occurs
    adds as much to the loss as any other, and the loss keeps its scale. A class that does not occur has weight 1.

    Args:
        pixels: of each class in the training masks, void left out.
        classes: number of weights; classes that the data set does not know do not occur.

    Raises:
        ValueError: all pixels are void.
    """
    occurring, whole = _occurring(pixels), sum(pixels)
    weights = [whole / (len(occurring) * count) if count else 1.0 for count in pixels]
    return weights + [1.0] * (classes - len(weights))


def class_rates(sampling: bool, pixels: Sequence[int], classes: int) -> list[float] | None:
    """Returns the probabilities with which pixels of each class are kept, inversely proportional to its frequency.

    r(c) = m / n(c), where m is the median of the numbers of pixels n(c) of the classes that occur; 1 where that is
    more, which is so for the rarer half of the classes.

    Args:
        sampling: what loss.balance_sampling says; without it there are none.
        pixels: as balanced_weights.
        classes: likewise.

    Raises:
        ValueError: as balanced_weights.
    """
    if not sampling:
        return None
    middle = median(_occurring(pixels))
    rates = [min(1.0, middle / count) if count else 1.0 for count in pixels]
    return rates + [1.0] * (classes - len(rates))


def class_weights(chosen: str | Sequence[float] | None, pixels: Sequence[int], classes: int) -> list[float] | None:
    """Returns the weights that loss.class_weights names; None where all are 1.

    Args:
        chosen: what the configuration says.
        pixels: of each class, needed for "balanced" alone.
        classes: of the net.

    Raises:
        ValueError: a list of another length, or as balanced_weights.
    """
    if chosen is None:
        return None
    if isinstance(chosen, str):
        return balanced_weights(pixels, classes)
    if len(chosen) != classes:
        raise ValueError(
            f"loss.class_weights has {len(chosen)} weights, but the net has {classes} classes, background included: "
            f"give one weight a class, or {BALANCED}"
        )
    return [float(weight) for weight in chosen]


def _occurring(pixels: Sequence[int]) -> list[int]:
    found = [count for count in pixels if count]
    if not found:
        raise ValueError(
            "the training masks hold no pixel of any class, so loss.class_weights and loss.balance_sampling have no "
            "frequencies to go by: look at them with python -m fcnseg.check, or set both keys back"
        )
    return found
