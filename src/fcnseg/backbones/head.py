"""What a classifier has behind the layers that become a backbone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """What the classifier computes behind the coarsest map: the part that an FCN replaces by score layers.

    Attributes:
        layer: name of its last layer in the authors' or torchvision's files.
        pool: side of the average pooling, in cells; 1 where there is none.
        pool_last: whether the pooling follows the last layer and a ReLU instead of preceding it.
        classes: number of classes.
    """

    layer: str
    pool: int = 1
    pool_last: bool = False
    classes: int = 1000
