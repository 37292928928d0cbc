"""The confusion matrix is timed only against one that counts the same."""

import numpy as np
import pytest
import torch

from fcnseg.benchmarks import metrics
from fcnseg.benchmarks.metrics import RANDOM, SCORES, SEGMENTED, changes, histogram, measure, scattered, segmented
from fcnseg.benchmarks.nets import Setting


def test_the_authors_histogram_leaves_void_out():
    counts = histogram(np.array([[0, 1], [20, 255]], np.uint8), np.array([[0, 2], [20, 3]]))
    assert counts.shape == (21, 21)
    assert counts.sum() == 3
    assert counts[0, 0] == counts[1, 2] == counts[20, 20] == 1


def test_both_are_timed():
    found = measure(Setting(size=(20, 10), batch=3), 2)
    assert [row["what"] for row in found["rows"]] == 3 * ["ours", "numpy as in score.py", "ours again"]
    assert list(dict.fromkeys(row["part"] for row in found["rows"])) == [SEGMENTED, RANDOM, SCORES]
    assert found["title"].startswith("Confusion matrix of 3 images of 20x10")


def test_a_count_that_differs_is_no_comparison(monkeypatch):
    monkeypatch.setattr(metrics, "histogram", lambda truth, predicted: np.zeros((21, 21), np.int64))
    with pytest.raises(ValueError, match="confusion matrices differ"):
        measure(Setting(size=(20, 10)), 1)


def test_what_a_net_predicts_changes_seldom_and_is_near_the_truth_and_random_pixels_are_not():
    setting = Setting(size=(500, 375), batch=2)
    scores, *drawn = segmented(setting)
    assert torch.equal(scores.argmax(1).byte(), drawn[0])
    often, right = [], []
    for predictions, targets in (drawn, scattered(setting)):
        assert set(targets.unique().tolist()) <= {*range(21), 255}
        often.append(changes(predictions, targets))
        right.append(float((predictions == targets)[targets != 255].float().mean()))
    assert 1000 < often[0] < 5000 < 150_000 < often[1]
    assert right[0] > 0.9 > 0.1 > right[1]


def test_a_change_is_one_of_the_label_or_the_prediction():
    labels = torch.tensor([[[0, 0, 1], [1, 1, 255]]], dtype=torch.uint8)
    assert changes(torch.zeros_like(labels), labels) == 2
    assert changes(torch.tensor([[[5, 6, 6], [6, 7, 7]]]).byte(), labels) == 4
