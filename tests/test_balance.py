"""Weights and rates of classes against their formulas."""

import pytest

from fcnseg.balance import balanced_weights, class_rates, class_weights

PIXELS = [750, 100, 0, 50, 100]
"""Three quarters background; one class does not occur."""


def test_balanced_weights_are_inversely_proportional_to_the_frequencies():
    weights = balanced_weights(PIXELS, 5)
    shares = [weight * count for weight, count in zip(weights, PIXELS, strict=True) if count]
    assert shares == pytest.approx([250] * 4)
    assert weights[2] == 1


def test_the_mean_weight_over_all_pixels_is_1():
    weights = balanced_weights(PIXELS, 5)
    assert sum(weight * count for weight, count in zip(weights, PIXELS, strict=True)) / 1000 == pytest.approx(1)


def test_rates_are_inversely_proportional_to_the_frequencies_and_at_most_1():
    assert class_rates(True, PIXELS, 5) == pytest.approx([100 / 750, 1, 1, 1, 1])
    assert class_rates(True, [600, 200, 150, 50], 4) == pytest.approx([175 / 600, 175 / 200, 1, 1])


def test_classes_that_the_data_set_does_not_know_are_left_alone():
    assert balanced_weights([30, 10], 4)[2:] == [1, 1]
    assert class_rates(True, [30, 10], 4)[2:] == [1, 1]


def test_weights_are_those_that_are_asked_for():
    assert class_weights(None, PIXELS, 5) is None
    assert class_weights("balanced", PIXELS, 5) == balanced_weights(PIXELS, 5)
    assert class_weights([1, 2.5], (), 2) == [1.0, 2.5]
    assert class_rates(False, (), 5) is None


def test_another_number_of_weights_than_classes_is_refused():
    with pytest.raises(ValueError, match=r"loss.class_weights has 2 weights, but the net has 21 classes, background"):
        class_weights([1.0, 2.0], (), 21)


@pytest.mark.parametrize("balance", [balanced_weights, lambda *a: class_rates(True, *a)])
def test_masks_of_void_alone_are_refused(balance):
    with pytest.raises(ValueError, match=r"no pixel of any class, so loss.class_weights and loss.balance_sampling"):
        balance([0, 0], 2)
