"""The scores of one image."""

import numpy as np
import torch

from fcnseg.data.dataset import Labels
from fcnseg.metrics import Scores, scores_from_confusion


def image_scores(prediction: Labels, truth: Labels, classes: int, void: int) -> Scores:
    """Scores a prediction [h, w] on its own; of classes that do not occur nothing is known.

    Args:
        prediction: classes.
        truth: classes, void included.
        classes: how many the data have.
        void: label of pixels that do not count.
    """
    counted = truth != void
    count = max(classes, int(prediction.max(initial=0)) + 1)
    pairs = truth[counted].astype(np.int64) * count + prediction[counted]
    matrix = np.bincount(pairs, minlength=count * count).reshape(count, count)
    return scores_from_confusion(torch.from_numpy(matrix))
