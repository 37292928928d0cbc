"""Predictions: batches and single images, probabilities, and the average over flips and scales."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from fcnseg.fcn import FCN
from fcnseg.prediction.predictor import Line, Predictor, Variant, seen_as, variants
from fcnseg.prediction.tiling import Tiling, reach, tiling

WHOLE = Tiling(10**6, 0, 16)


@pytest.fixture(scope="module")
def net(narrow):
    torch.manual_seed(2)
    net = FCN(narrow("squeezenet")(), 5, 16)
    torch.nn.init.normal_(net.score_fr.weight if hasattr(net, "score_fr") else net.score_layers[0].weight, std=0.05)
    return net.double().eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(4).integers(0, 256, (3, 70, 90, 3), dtype=np.uint8)


def shares(net, images):
    with torch.inference_mode():
        return net(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)).softmax(1)


def test_labels_are_the_best_classes_and_probabilities_the_softmax(net, images):
    found = Predictor(net, WHOLE).predict(images, probabilities=True)
    expected = shares(net, images)
    for one, share in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.labels, share.argmax(0))
        np.testing.assert_allclose(one.probabilities, share, atol=5e-4)
        assert (one.labels.dtype, one.probabilities.dtype) == (np.uint8, np.float16)
    assert Predictor(net, WHOLE).predict(images)[0].probabilities is None


def test_a_batch_gives_what_its_images_give_alone(net, images):
    predictor = Predictor(net, WHOLE)
    together = predictor.predict(images, probabilities=True)
    for place, one in enumerate(together):
        (alone,) = predictor.predict(images[place : place + 1], probabilities=True)
        np.testing.assert_array_equal(alone.labels, one.labels)
        np.testing.assert_allclose(alone.probabilities, one.probabilities, atol=1e-3)


def test_views_are_averaged_by_their_probabilities(net, images):
    views = variants([0.75, 1, 1.25], flip=True)
    assert len(set(views)) == 6
    total = 0
    for scale in (0.75, 1.0, 1.25):
        size = round(70 * scale), round(90 * scale)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = np.stack([cv2.resize(image, size[::-1], interpolation=way) for image in images])
        for flip in (False, True):
            share = shares(net, resized[:, :, ::-1] if flip else resized)
            share = share.flip(3) if flip else share
            total = total + functional.interpolate(share, (70, 90), mode="bilinear", align_corners=False)
    found = Predictor(net, WHOLE, views).predict(images, probabilities=True)
    np.testing.assert_array_equal(np.stack([one.labels for one in found]), total.argmax(1))
    np.testing.assert_allclose(np.stack([one.probabilities for one in found]), total / 6, atol=5e-4)


def test_views_of_parts_are_those_of_the_whole(net):
    cut = tiling(net, 2 * reach(net) + 2 * net.strides[0], 0)
    image = np.random.default_rng(5).integers(0, 256, (1, cut.side + 80, 64, 3), dtype=np.uint8)
    views = variants([0.8, 1.3], flip=True)
    (parts,), (whole,) = (Predictor(net, each, views).predict(image, True) for each in (cut, WHOLE))
    assert len(cut.regions(*image.shape[1:3])) > 1
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-3)


def test_a_flip_alone_is_symmetric(net, images):
    found = Predictor(net, WHOLE, variants([1], flip=True)).predict(images, True)
    mirrored = Predictor(net, WHOLE, variants([1], flip=True)).predict(images[:, :, ::-1], True)
    np.testing.assert_allclose(found[0].probabilities, mirrored[0].probabilities[:, :, ::-1], atol=1e-3)


def test_a_view_keeps_channels_and_at_least_a_pixel():
    assert seen_as(np.zeros((2, 3, 40, 1), np.uint8), Variant(0.1)).shape == (2, 1, 4, 1)
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(seen_as(image, Variant(1.0, flip=True))[0, :, 0], image[0, :, 1])
    np.testing.assert_array_equal(seen_as(image, Variant()), image)
    many = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 6), dtype=np.uint8)
    smaller = seen_as(many, Variant(0.6))
    assert smaller.shape == (2, 18, 24, 6)
    np.testing.assert_array_equal(smaller[..., 3:], seen_as(many[..., 3:], Variant(0.6)))


@pytest.mark.parametrize(("pixels", "mapped"), [(7, 3), (3, 7), (10, 10), (5, 1)])
def test_lines_interpolate_as_torch_does(pixels, mapped):
    values = torch.randn(1, 1, mapped, dtype=torch.float64)
    expected = functional.interpolate(values, pixels, mode="linear", align_corners=False)[0, 0]
    for first, behind in ((0, pixels), (1, pixels - 1)):
        line = Line.between(pixels, mapped, first, behind)
        found = line.matrix(values) @ values[0, 0, line.span[0] : line.span[1]]
        torch.testing.assert_close(found, expected[first:behind], rtol=0, atol=1e-12)


def test_many_classes_have_wide_labels(narrow):
    net = FCN(narrow("squeezenet")(), 300, 16)
    torch.nn.init.constant_(net.score_layers[0].bias[299:], 5.0)
    (found,) = Predictor(net, WHOLE).predict(np.zeros((1, 20, 20, 3), np.uint8))
    assert found.labels.dtype == np.int32
    assert (found.labels == 299).all()


def test_mixed_precision_computes_the_scores_in_it(net, images):
    single = Predictor(net.float(), WHOLE, precision="32-true").predict(images[:1], True)[0].probabilities
    mixed = Predictor(net, WHOLE, precision="bf16-mixed").predict(images[:1], True)[0].probabilities
    net.double()
    assert 0 < np.abs(single.astype(float) - mixed).max() < 0.1
