"""How many pixels each class has in the masks of a data set."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fcnseg.data.dataset import ImageFiles, Source


def class_pixels(source: Source, workers: int = 1) -> list[int]:
    """Counts the pixels of each class over all masks as they are stored, before any crop or scaling; void is left out.

    Args:
        source: the images with masks.
        workers: masks that are read at the same time, in threads, because decoding releases Python's lock.

    Raises:
        ValueError: a mask that cannot be read, or that holds what is neither a class nor void.
    """
    total = np.zeros(len(source.classes), np.int64)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for counts in pool.map(lambda index: _counted(source, index), range(len(source))):
            total += counts
    return [int(count) for count in total]


def _counted(source: Source, index: int) -> np.ndarray:
    labels = source.read_mask(index) if isinstance(source, ImageFiles) else source.read(index)[1]
    counts = np.bincount(labels[labels != source.void], minlength=(classes := len(source.classes)))
    if len(counts) > classes:
        raise ValueError(
            f"the mask of {source.name(index)} holds {len(counts) - 1}, which is neither a class (0..{classes - 1}) "
            f"nor void ({source.void})"
        )
    return counts
