"""One image's scores, worked out by hand."""

import math

import numpy as np
import pytest

from fcnseg.tracking.scores import image_scores


def test_void_does_not_count():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 1]], np.uint8)
    scores = image_scores(prediction, truth, classes=3, void=255)
    assert scores.pixel_acc == pytest.approx(2 / 3)
    assert scores.mean_iu == pytest.approx(1 / 2)
    assert math.isnan(scores.per_class_iu[2])


def test_a_net_may_know_more_classes_than_the_data():
    scores = image_scores(np.array([[4]], np.int32), np.array([[0]], np.int32), classes=2, void=-1)
    assert scores.pixel_acc == 0
