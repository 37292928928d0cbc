"""Colour jitter: torchvision's arithmetic, each image by factors of its own, drawn as a function of the draw alone."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from fcnseg.data.dataset import Draw, Sample
from fcnseg.data.jitter import HUE, Jitter, as_seen, jittered

FACTORS = torch.tensor(
    [[1.3, 0.7, 1.2, 0.03], [0.6, 1.4, 0.5, -0.08], [1, 1, 1, 0.5], [1, 1, 0, 0], [0, 1, 1, 0], [1.9, 0, 1.9, 0.25]]
)


def noise(count, channels=3, side=12, seed=0):
    shape = (count, side, side + 3, channels)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).permute(0, 3, 1, 2)


def by_torchvision(image, factors):
    brightness, contrast, saturation, hue = factors.tolist()
    changed = functional.adjust_contrast(functional.adjust_brightness(image / 255, brightness), contrast)
    if len(image) == 3:
        changed = functional.adjust_hue(functional.adjust_saturation(changed, saturation), hue)
    return changed * 255


# ---- on the device


def test_a_batch_is_what_torchvision_makes_of_its_images_one_by_one():
    images = noise(len(FACTORS))
    images[0, :, :4] = 255  # white, black and grey have no hue
    images[0, :, 4:6] = 0
    images[0, :, 6:8] = 77
    expected = torch.stack([by_torchvision(*pair) for pair in zip(images, FACTORS, strict=True)])
    found = jittered(images, FACTORS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)  # torchvision's red is 0.2989 of grey


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_change_in_brightness_and_contrast_alone(channels):
    images = noise(2, channels)
    found = jittered(images, FACTORS[:2])
    for image, (brightness, contrast, _, _), changed in zip(images, FACTORS, found, strict=False):
        brighter = (image * brightness).clamp(0, 255)
        expected = (brighter.mean() + contrast * (brighter - brighter.mean())).clamp(0, 255)
        torch.testing.assert_close(changed, expected, atol=1e-3, rtol=0)


def test_neutral_factors_change_nothing():
    images = noise(2)
    neutral = torch.tensor([[1.0, 1, 1, 0]] * 2)
    torch.testing.assert_close(jittered(images, neutral), images.float(), atol=1e-3, rtol=0)


def test_double_precision_stays_double():
    assert jittered(noise(1), FACTORS[:1].double()).dtype == torch.float64


# ---- in the loader


def test_factors_are_those_of_the_draw_and_fill_their_ranges():
    draws = [Draw(index, epoch, turn) for index in range(20) for epoch in range(5) for turn in range(5)]
    jitter = Jitter(0.3, seed=1)
    found = np.array([jitter(draw) for draw in draws])
    assert [jitter(draw) for draw in draws[::-1]] == [tuple(row) for row in found[::-1]]
    assert len(np.unique(found)) == found.size
    ends = np.array([[0.7, 1.3]] * 3 + [[-0.3 * HUE, 0.3 * HUE]])
    span = ends[:, 1] - ends[:, 0]
    assert (found.min(0) >= ends[:, 0]).all()
    assert (found.max(0) <= ends[:, 1]).all()
    assert (np.abs(np.stack([found.min(0), found.max(0)], 1) - ends) < 0.02 * span[:, None]).all()
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.15
    assert Jitter(0.3, seed=2)(draws[0]) != jitter(draws[0])


def test_brightness_is_never_negative():
    assert min(min(Jitter(3.0, 0)(Draw(index))[:3]) for index in range(100)) >= 0


def test_a_sample_is_shown_as_the_net_sees_it():
    image = noise(1)[0].permute(1, 2, 0).numpy()
    mask = np.zeros(image.shape[:2], np.uint8)
    plain = Sample(image, mask, 0, "")
    assert as_seen(plain) is plain
    seen = as_seen(Sample(image[:, ::-1], mask, 0, "", tuple(FACTORS[0].tolist()))).image
    expected = by_torchvision(torch.from_numpy(image[:, ::-1].copy()).permute(2, 0, 1), FACTORS[0])
    assert (seen.shape, seen.dtype) == (image.shape, np.uint8)
    assert np.abs(seen.transpose(2, 0, 1) - expected.numpy()).max() < 0.55
