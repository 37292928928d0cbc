"""The loss against its plain definition, pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from fcnseg import upsampling
from fcnseg.backbones import backbone_class
from fcnseg.fcn import FCN
from fcnseg.geometry import IMAGE, Grid
from fcnseg.losses import REDUCTIONS, PixelCrossEntropy
from fcnseg.sampling import kept_cells, kept_pixels
from fcnseg.shapes import Features

VOID = 255


@pytest.fixture
def batch():
    """Logits [3, 4, 5, 6] and targets with uneven void: a little, half, and none."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64, generator=generator) * 3
    targets = torch.randint(0, 4, (3, 5, 6), dtype=torch.uint8, generator=generator)
    targets[0, 0, :2] = VOID
    targets[1, :, 3:] = VOID
    return logits, targets


def loss_of(reduction, logits, targets, void=VOID):
    """The loss of finished logits: nothing to upsample."""
    return PixelCrossEntropy(reduction, void)(Features(logits, IMAGE), lambda scores, size: scores.tensor, targets)


def pixel_losses(logits, target):
    """The definition, in plain numbers: {pixel: loss} of the pixels of one image that count."""
    found = {}
    for row, line in enumerate(target.tolist()):
        for column, label in enumerate(line):
            if label != VOID:
                scores = logits[:, row, column].tolist()
                found[row, column] = math.log(sum(math.exp(score) for score in scores)) - scores[label]
    return found


def defined(reduction, logits, targets):
    """The definition of each normalisation over all images of a step."""
    images = [pixel_losses(*pair) for pair in zip(logits, targets, strict=True)]
    pixels = [loss for image in images for loss in image.values()]
    if reduction == "sum":
        return math.fsum(pixels)
    if reduction == "mean":
        return math.fsum(pixels) / len(pixels)
    return math.fsum(math.fsum(image.values()) / len(image) for image in images) / len(images)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_loss_is_its_definition(reduction, batch):
    total, weight, _ = loss_of(reduction, *batch)
    assert float(total / weight) == pytest.approx(defined(reduction, *batch), rel=1e-12)


@pytest.mark.parametrize(("reduction", "weight"), [("sum", 1), ("mean", 90 - 2 - 15), ("image_mean", 3)])
def test_weights_count_what_the_loss_is_divided_by(reduction, weight, batch):
    found = loss_of(reduction, *batch).weight
    assert (float(found), found.dtype, found.requires_grad) == (weight, torch.float64, False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_valid_pixels_are_counted_in_every_normalisation(reduction, batch):
    assert int(loss_of(reduction, *batch).pixels) == 90 - 2 - 15


def test_the_three_normalisations_differ(batch):
    values = [defined(reduction, *batch) for reduction in REDUCTIONS]
    assert len({round(value, 6) for value in values}) == 3


@pytest.mark.parametrize("reduction", ["mean", "image_mean"])
@pytest.mark.parametrize("parts", [(1, 1, 1), (2, 1), (1, 2)])
def test_fractions_add_up_across_batches(reduction, parts, batch):
    pieces = zip(*(tensor.split(parts) for tensor in batch), strict=True)
    losses = [loss_of(reduction, *piece) for piece in pieces]
    total, weight = sum(loss.total for loss in losses), sum(loss.weight for loss in losses)
    assert float(total / weight) == pytest.approx(defined(reduction, *batch), rel=1e-12)


def test_summed_losses_add_up_without_being_divided(batch):
    pieces = zip(*(tensor.split(1) for tensor in batch), strict=True)
    assert sum(float(loss_of("sum", *piece).total) for piece in pieces) == pytest.approx(
        defined("sum", *batch), rel=1e-12
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_void_pixels_have_no_gradient_and_the_others_that_of_the_softmax(reduction, batch):
    logits, targets = batch
    logits.requires_grad_()
    total, _, _ = loss_of(reduction, logits, targets)
    total.backward()
    valid = targets != VOID
    assert not logits.grad.permute(0, 2, 3, 1)[~valid].any()
    hot = torch.nn.functional.one_hot(targets.long().clamp(max=3), 4).permute(0, 3, 1, 2)
    slope = (logits.detach().softmax(1) - hot) * valid[:, None]
    if reduction == "image_mean":
        slope = slope / valid.sum((1, 2))[:, None, None, None]
    torch.testing.assert_close(logits.grad, slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("reduction", "weight"), [("sum", 1), ("mean", 0), ("image_mean", 1)])
def test_an_image_of_void_alone_costs_nothing(reduction, weight):
    logits = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    loss = loss_of(reduction, logits, torch.full((1, 3, 3), VOID, dtype=torch.uint8))
    loss.total.backward()
    assert (float(loss.total.detach()), float(loss.weight)) == (0, weight)
    assert not logits.grad.any()


def test_other_labels_can_be_void(batch):
    logits, targets = batch
    other = targets.int()
    other[targets == VOID] = -1
    assert torch.equal(loss_of("mean", logits, other, -1).total, loss_of("mean", logits, targets).total)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_targets_may_be_any_integers(dtype, batch):
    logits, targets = batch
    assert torch.equal(loss_of("sum", logits, targets.to(dtype)).total, loss_of("sum", logits, targets).total)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(dtype, batch):
    logits, targets = batch
    half = logits.to(dtype)
    loss = loss_of("sum", half, targets).total
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(loss_of("sum", half.double(), targets).total), rel=1e-6)


def test_the_scores_are_upsampled_to_the_targets_size(batch):
    logits, targets = batch
    asked = []

    def upsample(scores, size):
        asked.append(size)
        return scores.tensor.repeat_interleave(2, 2)[:, :, : size[0]]

    loss = PixelCrossEntropy("sum")(Features(logits[:, :, ::2], IMAGE), upsample, targets)
    assert asked == [(5, 6)]
    assert float(loss.total) == pytest.approx(
        defined("sum", logits[:, :, ::2].repeat_interleave(2, 2)[:, :, :5], targets), rel=1e-12
    )


@pytest.mark.parametrize("label", [4, 254])
def test_labels_that_are_neither_class_nor_void_are_refused(label, batch):
    logits, targets = batch
    targets[2, 3, 3] = label
    with pytest.raises(
        ValueError, match=rf"the masks hold \[{label}\], which is neither a class \(0..3\) nor void \(255"
    ):
        loss_of("sum", logits, targets)


def test_negative_labels_are_refused(batch):
    logits, targets = batch
    with pytest.raises(ValueError, match=r"the masks hold \[-2\]"):
        loss_of("sum", logits, targets.int().where(targets != VOID, -2))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match=r"loss.reduction must be one of sum, mean, image_mean, not 'average'"):
        PixelCrossEntropy("average")


# ---- bands


@pytest.fixture
def narrow_bands(monkeypatch):
    monkeypatch.setattr(upsampling, "BAND_BYTES", {"cpu": 8 * 2 * 5 * 31 * 3, "other": 1})  # three rows at a time


def case(learned=False):
    torch.manual_seed(0)
    net = FCN(backbone_class("squeezenet")(dropout=0.0), 5, 8, learn_final=learned).double()
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
    targets = torch.randint(0, 5, (2, 40, 31), dtype=torch.uint8)
    targets[0, :9] = VOID
    return net, torch.randint(0, 256, (2, 3, 40, 31), dtype=torch.uint8), targets


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("learned", [False, True])
def test_bands_give_the_loss_and_the_gradients_of_the_whole(reduction, learned, request):
    net, images, targets = case(learned)
    found = []
    for banded in (False, True):
        if banded:
            request.getfixturevalue("narrow_bands")
        net.zero_grad()
        scores = net.scores(images)
        assert (len(upsampling.bands(scores.tensor, (40, 31))) > 10) == banded
        loss = PixelCrossEntropy(reduction)(scores, net.upsample, targets)
        (3 * loss.total).backward()
        found.append([loss.total.detach(), loss.weight, *(p.grad.clone() for p in net.parameters())])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("narrow_bands")
def test_logits_of_one_band_are_held_at_a_time():
    net, images, targets = case()
    asked = []

    def upsample(scores, size, rows):
        asked.append(rows)
        return net.upsample(scores, size, rows)

    PixelCrossEntropy("sum")(net.scores(images), upsample, targets).total.backward()
    first, *bands = asked  # the first asks whether the upsampling is trained, for one row
    assert first == (0, 1)
    assert [stop - start for start, stop in bands] == [3] * 13 + [1]
    assert bands[-1][1] == 40


@pytest.mark.usefixtures("narrow_bands")
def test_predictions_of_bands_are_the_best_classes():
    net, images, _ = case()
    scores = net.scores(images)
    predictions = net.predict(scores, (40, 31))
    assert predictions.dtype == torch.uint8
    assert torch.equal(predictions, net.upsample(scores, (40, 31)).argmax(1).to(torch.uint8))


# ---- sampling and weights of classes


WEIGHTS, RATES = [0.25, 1.0, 3.0, 0.5], [0.3, 1.0, 0.6, 0.9]


def sampled(reduction, targets, cells, grid, chances, **options):
    """The loss of finished logits with a map of other cells in front of them."""
    loss = PixelCrossEntropy(reduction, **options)
    return lambda logits: loss(Features(cells, grid), lambda scores, size: logits, targets, chances)


def weighted(reduction, logits, targets, weights):
    """The definition with weights of classes, in plain numbers: total and weight of one step."""
    images = [pixel_losses(*pair) for pair in zip(logits, targets, strict=True)]
    heavy = [{at: weights[int(target[at])] for at in image} for image, target in zip(images, targets, strict=True)]
    sums = [math.fsum(loss * heavy[n][at] for at, loss in image.items()) for n, image in enumerate(images)]
    if reduction == "sum":
        return math.fsum(sums), 1
    if reduction == "mean":
        return math.fsum(sums), math.fsum(weight for image in heavy for weight in image.values())
    return math.fsum(one / (math.fsum(image.values()) or 1) for one, image in zip(sums, heavy, strict=True)), len(
        images
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "chosen", [{"keep": 0.5}, {"class_rates": RATES}, {"keep": 0.7, "class_rates": RATES}], ids=str
)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_what_is_not_drawn_is_void_and_classes_weigh(reduction, chosen, weights, batch):
    logits, targets = batch
    grid, chances, cells = Grid(2, 0.5), torch.tensor([5, 6, 7]), torch.zeros(3, 4, 3, 4)
    kept = targets != VOID
    if "keep" in chosen:
        kept = kept & kept_cells(Features(cells, grid), (5, 6), chances, chosen["keep"])
    if "class_rates" in chosen:
        kept = kept & kept_pixels(targets, targets != VOID, chances, torch.tensor(RATES, dtype=torch.float64))
    assert 0 < int(kept.sum()) < int((targets != VOID).sum())
    found = sampled(reduction, targets, cells, grid, chances, class_weights=weights, **chosen)(logits)
    total, weight = weighted(reduction, logits, targets.where(kept, VOID), weights or [1] * 4)
    assert float(found.total) == pytest.approx(total, rel=1e-12)
    assert float(found.weight) == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_keeping_every_patch_is_the_plain_loss_to_the_bit(reduction, batch):
    logits, targets = batch
    for dtype in (torch.float32, torch.float64):
        plain = loss_of(reduction, logits.to(dtype), targets)
        kept = PixelCrossEntropy(reduction, keep=1.0)
        found = kept(Features(logits.to(dtype), IMAGE), lambda scores, size: scores.tensor, targets, torch.arange(3))
        assert torch.equal(found.total, plain.total)
        assert torch.equal(found.weight, plain.weight)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.5, pytest.param(0.25, marks=pytest.mark.slow)])
def test_over_many_draws_sampling_is_the_plain_loss(keep):
    """Of 2000 draws: totals by the probability are the plain sum, weights by it the plain number of pixels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 41, 53, dtype=torch.float64, generator=generator) * 3
    targets = torch.randint(0, 4, (1, 41, 53), dtype=torch.uint8, generator=generator)
    targets[:, :7] = VOID
    cells, plain = torch.zeros(1, 4, 11, 14), loss_of("mean", logits, targets)
    assert plain.weight == 34 * 53
    draws = []
    for chance in range(2000):
        total, weight, _ = sampled("mean", targets, cells, Grid(4, 0.5), torch.tensor([chance]), keep=keep)(logits)
        draws.append((float(total), float(weight)))
    totals, weights = np.mean(draws, axis=0) / keep
    assert totals == pytest.approx(float(plain.total), rel=1e-2)
    assert weights == pytest.approx(float(plain.weight), rel=1e-2)
    assert np.std(draws, axis=0)[1] > 50
    summed = sampled("sum", targets, cells, Grid(4, 0.5), torch.tensor([1999]), keep=keep)(logits)
    assert float(summed.total) == pytest.approx(draws[-1][0], rel=1e-12)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bands_sample_and_weigh_as_the_whole_does(reduction, learned, request):
    net, images, targets = case(learned)
    loss = PixelCrossEntropy(reduction, keep=0.5, class_weights=[0.2, 1, 2, 3, 4], class_rates=[0.5, 1, 1, 1, 0.7])
    found = []
    for banded in (False, True):
        if banded:
            request.getfixturevalue("narrow_bands")
        net.zero_grad()
        total, weight, _ = loss(net.scores(images), net.upsample, targets, torch.tensor([3, 4]))
        total.backward()
        found.append([total.detach(), weight, *(p.grad.clone() for p in net.parameters())])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_the_exact_window_drops_the_cells_that_the_whole_map_drops(narrow):
    torch.manual_seed(0)
    nets = [FCN(narrow("vgg16")(100, padding_mode=mode, dropout=0.0), 5, 8) for mode in ("window", "plain")]
    targets = torch.randint(0, 5, (1, 61, 47), dtype=torch.uint8)
    scores = [net.scores(torch.zeros(1, 3, 61, 47)) for net in nets]
    assert scores[0].grid.offset != scores[1].grid.offset
    loss, dropped = PixelCrossEntropy("sum", keep=0.5), []
    for net, each in zip(nets, scores, strict=True):
        logits = net.upsample(each, (61, 47)).detach().requires_grad_()
        loss(each, lambda scores, size, logits=logits: logits, targets, torch.tensor([1])).total.backward()
        dropped.append(logits.grad.any(1))
    assert torch.equal(*dropped)
    assert 0 < int(dropped[0].sum()) < 61 * 47


def test_validation_takes_every_pixel_and_no_weights(batch):
    loss = PixelCrossEntropy("mean", keep=0.1, class_weights=WEIGHTS, class_rates=RATES).eval()
    plain = loss_of("mean", *batch)
    found = loss(Features(batch[0], IMAGE), lambda scores, size: scores.tensor, batch[1])
    assert torch.equal(found.total, plain.total)
    assert torch.equal(found.weight, plain.weight)


@pytest.mark.parametrize("options", [{"keep": 0.5}, {"class_rates": RATES}])
def test_sampling_without_chances_is_refused(options, batch):
    with pytest.raises(ValueError, match="needs chances, a number for each image"):
        sampled("sum", batch[1], batch[0], IMAGE, None, **options)(batch[0])


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5])
def test_a_probability_that_is_none_is_refused(keep):
    with pytest.raises(ValueError, match=r"loss.keep must be above 0 and at most 1"):
        PixelCrossEntropy(keep=keep)


def test_an_image_of_which_nothing_is_drawn_costs_nothing():
    logits = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.zeros(1, 3, 3, dtype=torch.uint8)
    for reduction, weight in (("sum", 1), ("mean", 0), ("image_mean", 1)):
        chances = torch.tensor([1])
        found = sampled(reduction, targets, logits.detach(), Grid(8), chances, class_rates=[0.0, 1, 1, 1])(logits)
        found.total.backward()
        assert (float(found.total.detach()), float(found.weight)) == (0, weight)
        assert not logits.grad.any()
