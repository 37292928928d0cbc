"""The four scores against plain numpy and against torchmetrics, and that they depend on nothing but the pixels."""

from unittest import mock

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassJaccardIndex

from fcnseg import metrics
from fcnseg.metrics import ConfusionMatrix, MeanLoss, scores_from_confusion

VOID = 255


def images(classes=5, count=6, seed=0, void=True):
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, (count, 9, 11)).astype(np.uint8)
    predictions = np.where(random.random(targets.shape) < 0.6, targets, random.integers(0, classes, targets.shape))
    if void:
        targets[random.random(targets.shape) < 0.1] = VOID
    return torch.from_numpy(predictions.astype(np.uint8)), torch.from_numpy(targets)


def plain_matrix(predictions, targets, classes):
    truth, guess = targets.numpy().ravel().astype(int), predictions.numpy().ravel().astype(int)
    valid = truth != VOID
    return np.bincount(truth[valid] * classes + guess[valid], minlength=classes**2).reshape(classes, classes)


def plain_scores(matrix):
    """The formulas of the paper's section 5, class by class; classes that do not occur are left out of the means."""
    truth, predicted, total = matrix.sum(1), matrix.sum(0), matrix.sum()
    accuracies, ius, weighted = [], [], 0.0
    for label in range(len(matrix)):
        union = truth[label] + predicted[label] - matrix[label, label]
        if truth[label]:
            accuracies.append(matrix[label, label] / truth[label])
            weighted += truth[label] / total * matrix[label, label] / union
        if union:
            ius.append(matrix[label, label] / union)
    return np.trace(matrix) / total, np.mean(accuracies), np.mean(ius), weighted


def metric_of(predictions, targets, classes):
    metric = ConfusionMatrix(classes)
    metric.update(predictions, targets)
    return metric


# ---- the scores


@pytest.mark.parametrize("classes", [2, 5, 21])
def test_scores_are_the_papers_formulas(classes):
    predictions, targets = images(classes, seed=classes)
    matrix = plain_matrix(predictions, targets, classes)
    metric = metric_of(predictions, targets, classes)
    assert metric.matrix.dtype == torch.int64
    np.testing.assert_array_equal(metric.matrix.numpy(), matrix)
    np.testing.assert_allclose(metric.compute()[:4], plain_scores(matrix), rtol=1e-12)


def test_scores_of_a_small_matrix_by_hand():
    scores = scores_from_confusion(torch.tensor([[6, 2], [1, 3]]))
    assert scores.pixel_acc == pytest.approx(9 / 12)
    assert scores.mean_acc == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert scores.per_class_iu == pytest.approx((6 / 9, 3 / 6))
    assert scores.mean_iu == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.fw_iu == pytest.approx(8 / 12 * 6 / 9 + 4 / 12 * 3 / 6)


@pytest.mark.parametrize("classes", [3, 21])
def test_mean_iu_is_torchmetrics_macro_jaccard(classes):
    predictions, targets = images(classes, seed=1)
    theirs = MulticlassJaccardIndex(classes, average="macro", ignore_index=VOID)
    per_class = MulticlassJaccardIndex(classes, average=None, ignore_index=VOID)
    ours = metric_of(predictions, targets, classes).compute()
    assert ours.mean_iu == pytest.approx(float(theirs(predictions, targets)), rel=1e-6)
    assert ours.per_class_iu == pytest.approx(per_class(predictions, targets).tolist(), rel=1e-6)


def test_mean_iu_is_no_micro_average_and_no_mean_over_images():
    predictions, targets = images(4, seed=2)
    targets[:, :6] = 0
    predictions[:, :6] = 0
    ours = metric_of(predictions, targets, 4).compute().mean_iu
    micro = MulticlassJaccardIndex(4, average="micro", ignore_index=VOID)
    by_image = np.mean([plain_scores(plain_matrix(*pair, 4))[2] for pair in zip(predictions, targets, strict=True)])
    assert abs(ours - float(micro(predictions, targets))) > 0.01
    assert abs(ours - by_image) > 1e-3


def test_perfect_predictions_score_one():
    _, targets = images(5)
    scores = metric_of(targets.where(targets != VOID, 3), targets, 5).compute()
    assert scores == (1.0, 1.0, 1.0, 1.0, (1.0,) * 5)


# ---- what does not occur


def test_a_class_that_neither_occurs_nor_is_predicted_is_left_out_of_the_means():
    predictions, targets = images(4)
    few, many = metric_of(predictions, targets, 4).compute(), metric_of(predictions, targets, 7).compute()
    assert many[:4] == pytest.approx(few[:4], rel=1e-12)
    assert np.isnan(many.per_class_iu[4:]).all()


def test_a_class_that_is_predicted_but_does_not_occur_counts_as_missed():
    targets = torch.tensor([[[0, 0, 1, 1]]])
    scores = metric_of(torch.tensor([[[0, 2, 1, 1]]]), targets, 4).compute()
    assert scores.per_class_iu[:3] == (0.5, 1.0, 0.0)
    assert (scores.mean_iu, scores.mean_acc) == (0.5, 0.75)


def test_void_is_not_background_whatever_is_predicted_there():
    predictions, targets = images(4)
    other = torch.where(targets == VOID, 3 - predictions, predictions)
    assert not torch.equal(other, predictions)
    assert torch.equal(metric_of(other, targets, 4).matrix, metric_of(predictions, targets, 4).matrix)


def test_images_of_void_alone_are_counted_and_have_no_scores():
    metric = metric_of(torch.zeros(2, 3, 3, dtype=torch.uint8), torch.full((2, 3, 3), VOID, dtype=torch.uint8), 3)
    scores = metric.compute()
    assert int(metric.images) == 2
    assert int(metric.matrix.sum()) == 0
    assert np.isnan([*scores[:4], *scores.per_class_iu]).all()


def test_void_may_be_another_label():
    predictions, targets = images(4)
    metric = ConfusionMatrix(4, void=-1)
    metric.update(predictions, targets.int().where(targets != VOID, -1))
    assert torch.equal(metric.matrix, metric_of(predictions, targets, 4).matrix)


# ---- batches


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.permutations(range(6)))
def test_any_splitting_into_batches_gives_the_same_matrix(sizes, order):
    predictions, targets = images(5)
    whole, parts = metric_of(predictions, targets, 5), ConfusionMatrix(5)
    order, start = list(order), 0
    for size in [*sizes, 6]:
        chosen = order[start : start + size]
        if chosen:
            parts.update(predictions[chosen], targets[chosen])
        start += size
    assert torch.equal(parts.matrix, whole.matrix)
    assert parts.compute() == whole.compute()
    assert int(parts.images) == 6


def test_reset_starts_over():
    metric = metric_of(*images(5), 5)
    metric.reset()
    assert int(metric.matrix.sum()) == int(metric.images) == 0


# ---- what is wrong


def test_labels_outside_the_classes_are_refused():
    predictions, targets = images(5)
    with pytest.raises(ValueError, match=r"the targets hold labels from 0 to 4; classes are 0..3, void 255"):
        metric_of(predictions.clamp(max=3), targets, 4)
    with pytest.raises(ValueError, match=r"the predictions hold labels from 0 to 4; classes are 0..3"):
        metric_of(predictions, targets.where(targets != 4, 0), 4)
    with pytest.raises(ValueError, match=r"the targets hold labels from -1 to 3"):
        metric_of(predictions.clamp(max=3), targets.int().where(targets != 4, -1), 4)


def test_shapes_that_differ_are_refused(monkeypatch):
    # The annotations refuse them already; users run without.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"predictions \[1, 3, 4\] and targets \[1, 3, 5\] differ in shape"):
        metric_of(torch.zeros(1, 3, 4).byte(), torch.zeros(1, 3, 5).byte(), 2)


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes counts background, so it is at least 2, not 1"):
        ConfusionMatrix(1)


# ---- the loss over a set


def test_the_mean_loss_is_all_totals_over_all_weights():
    metric = MeanLoss()
    for total, weight in ((3.0, 2.0), (5.0, 6.0), (0.0, 0.0)):
        metric.update(torch.tensor(total), torch.tensor(weight, dtype=torch.float64))
    assert float(metric.compute()) == 1.0


def test_the_mean_loss_is_summed_in_double_precision():
    metric = MeanLoss()
    for total in (2.0**25, 1.0, 1.0, 1.0):
        metric.update(torch.tensor(total), torch.ones(()))
    assert float(metric.compute()) == (2.0**25 + 3) / 4


def test_the_mean_loss_of_nothing_is_no_number():
    with pytest.warns(UserWarning, match="called before"):
        assert np.isnan(float(MeanLoss().compute()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_no_image_at_all_counts_nothing(dtype):
    nothing = torch.zeros(0, 4, 5, dtype=dtype)
    metric = metric_of(nothing, nothing, 3)
    assert (int(metric.matrix.sum()), int(metric.images)) == (0, 0)


@pytest.mark.parametrize("classes", [127, 128, 255, 256, 300])
def test_bytes_are_counted_however_many_classes_there_are(classes):
    generator = torch.Generator().manual_seed(0)
    highest = min(classes, 256)
    labels = [torch.randint(0, highest, (2, 9, 11), dtype=torch.uint8, generator=generator) for _ in range(2)]
    for each in labels:
        each[0, 0] = highest - 1
    metric = ConfusionMatrix(classes, void=-1)
    metric.update(*labels)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (labels[1].numpy().ravel(), labels[0].numpy().ravel()), 1)
    np.testing.assert_array_equal(metric.matrix.numpy(), expected)


def test_bytes_of_many_classes_take_the_quick_way():
    labels = torch.full((1, 2, 3), 254, dtype=torch.uint8)
    metric = ConfusionMatrix(255, void=-1)
    metric._count_checked = mock.Mock(side_effect=AssertionError("not the quick way"))
    metric.update(labels, labels)
    assert int(metric.matrix[254, 254]) == 6


def test_as_many_classes_as_a_gpu_counts_in_sixteen_bits():
    targets, predictions = torch.full((4,), 255).byte(), torch.full((4,), 255).byte()
    columns = metrics.MOST_ON_GPU + 1
    assert int(metrics._table_by_bincount(targets, predictions, columns)[255, columns - 1]) == 4
    with pytest.raises(RuntimeError):
        metrics._table_by_bincount(targets, predictions, columns + 1)


@pytest.mark.parametrize("void", [-1, 300])
@pytest.mark.parametrize("classes", [100, 200, 301])
def test_a_byte_is_never_a_void_that_no_byte_can_hold(void, classes):
    metric, predictions = ConfusionMatrix(classes, void=void), torch.zeros(1, 1, 2, dtype=torch.uint8)
    metric.update(predictions, torch.tensor([[[44, 1]]], dtype=torch.uint8))
    assert int(metric.matrix.sum()) == 2
    if classes <= 255:
        with pytest.raises(ValueError, match="the targets hold labels from 1 to 255"):
            metric.update(predictions, torch.tensor([[[255, 1]]], dtype=torch.uint8))


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 4, VOID]), st.integers(0, 4), st.integers(1, 40)), min_size=1),
    st.sampled_from([1, 3, 64, 2**24]),
    st.sampled_from([0, 8, 1000]),
)
def test_runs_are_counted_as_their_pixels(runs, exact, short):
    lengths = torch.tensor([length for *_, length in runs])
    targets, predictions = (
        torch.tensor([run[at] for run in runs], dtype=torch.uint8).repeat_interleave(lengths)[None, None]
        for at in (0, 1)
    )
    with mock.patch.multiple(metrics, MOST_EXACT=exact, SHORT_RUN=short):
        matrix = metric_of(predictions, targets, 5).matrix
    assert matrix.dtype == torch.int64
    np.testing.assert_array_equal(matrix.numpy(), plain_matrix(predictions, targets, 5))


@pytest.mark.parametrize("table", [metrics._table_by_runs, metrics._table_by_histogram])
def test_more_pixels_of_a_pair_than_a_float_can_count(table):
    pixels = np.zeros(2**24 + 3, np.uint8)
    assert table(pixels, pixels, 3)[0, 0] == 2**24 + 3


@pytest.mark.parametrize("way", ["runs", "histogram", "bincount"])
@pytest.mark.parametrize("void", [VOID, 200, 5, 2, 0, -1])
def test_a_label_is_void_whichever_way_is_taken(void, way, monkeypatch):
    predictions, targets = images(5, void=False)
    targets[0, 0] = max(void, 0)
    if void >= 0:
        predictions[0, 0, :3] = 0 if void < 5 else 9
    monkeypatch.setattr(metrics, "SHORT_RUN", 0 if way == "runs" else 10**6)
    if way == "bincount":
        monkeypatch.setattr(
            metrics,
            "_table_by_runs",
            lambda *each: metrics._table_by_bincount(*map(torch.from_numpy, each[:2]), each[2]),
        )
    metric = ConfusionMatrix(5, void=void)
    metric._count_checked = mock.Mock(side_effect=AssertionError("not the quick way"))
    metric.update(predictions, targets)
    expected, counted = np.zeros((5, 5), int), (targets != void).numpy()
    np.add.at(expected, (targets.numpy()[counted], predictions.numpy()[counted]), 1)
    np.testing.assert_array_equal(metric.matrix.numpy(), expected)


def test_all_ways_count_the_same():
    predictions, targets = images(5, void=False)
    targets[0, 0], predictions[0, 0, :3] = 200, 9
    flat = targets.flatten(), predictions.flatten()
    expected = np.zeros((256, 6), int)
    np.add.at(expected, (flat[0].numpy(), np.minimum(flat[1].numpy(), 5)), 1)
    with mock.patch.object(metrics, "SHORT_RUN", 0):
        by_runs = metrics._table_by_runs(flat[0].numpy(), flat[1].numpy(), 6)
    for table in (
        by_runs,
        metrics._table_by_histogram(flat[0].numpy(), flat[1].numpy(), 6),
        metrics._table_by_bincount(*flat, 6).numpy(),
    ):
        np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("wrong", ["targets", "predictions"])
def test_labels_outside_the_classes_are_refused_in_long_runs_too(wrong):
    labels = {"targets": torch.zeros(1, 9, 90).byte(), "predictions": torch.zeros(1, 9, 90).byte()}
    labels[wrong][0, 4] = 7
    with pytest.raises(ValueError, match=f"the {wrong} hold labels from 0 to 7"):
        metric_of(labels["predictions"], labels["targets"], 5)
