"""The confusion matrix is timed only against one that counts the same."""

import numpy as np
import pytest

from fcnseg.benchmarks import metrics
from fcnseg.benchmarks.metrics import histogram, measure
from fcnseg.benchmarks.nets import Setting


def test_the_authors_histogram_leaves_void_out():
    counts = histogram(np.array([[0, 1], [20, 255]], np.uint8), np.array([[0, 2], [20, 3]]))
    assert counts.shape == (21, 21)
    assert counts.sum() == 3
    assert counts[0, 0] == counts[1, 2] == counts[20, 20] == 1


def test_both_are_timed():
    found = measure(Setting(size=(20, 10), batch=3), 2)
    assert [row["what"] for row in found["rows"]] == ["ours", "numpy as in score.py", "ours again"]
    assert found["title"].startswith("Confusion matrix of 3 images of 20x10")


def test_a_count_that_differs_is_no_comparison(monkeypatch):
    monkeypatch.setattr(metrics, "histogram", lambda truth, predicted: np.zeros((21, 21), np.int64))
    with pytest.raises(ValueError, match="confusion matrices differ"):
        measure(Setting(size=(20, 10)), 1)
