"""The confusion matrix is timed only against one that counts the same."""

import numpy as np
import pytest

from fcnseg.benchmarks import metrics
from fcnseg.benchmarks.metrics import AS_A_NET, RANDOM, histogram, measure, scattered, segmented
from fcnseg.benchmarks.nets import Setting


def test_the_authors_histogram_leaves_void_out():
    counts = histogram(np.array([[0, 1], [20, 255]], np.uint8), np.array([[0, 2], [20, 3]]))
    assert counts.shape == (21, 21)
    assert counts.sum() == 3
    assert counts[0, 0] == counts[1, 2] == counts[20, 20] == 1


def test_both_are_timed():
    found = measure(Setting(size=(20, 10), batch=3), 2)
    assert [row["what"] for row in found["rows"]] == 2 * ["ours", "numpy as in score.py", "ours again"]
    assert list(dict.fromkeys(row["part"] for row in found["rows"])) == [AS_A_NET, RANDOM]
    assert found["title"].startswith("Confusion matrix of 3 images of 20x10")


def test_a_count_that_differs_is_no_comparison(monkeypatch):
    monkeypatch.setattr(metrics, "histogram", lambda truth, predicted: np.zeros((21, 21), np.int64))
    with pytest.raises(ValueError, match="confusion matrices differ"):
        measure(Setting(size=(20, 10)), 1)


def test_what_a_net_predicts_has_long_runs_near_the_truth_and_random_pixels_have_not():
    shares = []
    for draw in (segmented, scattered):
        predictions, targets = draw(Setting(size=(250, 188), batch=2))
        assert set(targets.unique().tolist()) <= {*range(21), 255}
        valid = targets != 255
        shares.append(
            (
                float((predictions[:, :, 1:] != predictions[:, :, :-1]).float().mean()),
                float((predictions == targets)[valid].float().mean()),
            )
        )
    assert shares[0][0] < 0.05 < 0.9 < shares[1][0]
    assert shares[0][1] > 0.8
    assert shares[1][1] < 0.1
