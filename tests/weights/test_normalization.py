"""The statistics of inputs: those of the release, and what may be said of a file."""

import pytest

from fcnseg.weights.normalization import (
    CAFFE,
    TORCHVISION,
    Normalization,
    from_metadata,
    normalization,
    settled,
    stated,
    widened,
)


def test_caffes_mean_is_the_releases():
    assert Normalization("bgr", 1, (122.67892, 116.66877, 104.00699), (1, 1, 1)) == CAFFE


def test_torchvisions_statistics_are_imagenets():
    assert Normalization("rgb", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) == TORCHVISION


def test_statistics_can_be_replaced_one_by_one():
    assert normalization("caffe", mean=[3, 2, 1]) == Normalization("bgr", 1, (3, 2, 1), (1, 1, 1))
    assert normalization("torchvision", std=[0.5, 0.5, 0.5]).mean == TORCHVISION.mean
    assert normalization("torchvision", std=[0.5, 0.5, 0.5]).std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bgr",), "backbone.normalization must be one of caffe, torchvision, not 'bgr'"),
        (("caffe", [1, 2]), r"backbone.mean must be 3 numbers .* \[1, 2\]"),
        (("caffe", None, [1, 0, 1]), r"backbone.std must be 3 numbers .* std not 0\)"),
        (("caffe", [0.485, 0.456, 0.406]), r"on the 0..1 scale, but backbone.normalization=caffe leaves images"),
        (("torchvision", [123.68, 116.78, 103.94]), r"on the 0..255 scale, but backbone.normalization=torchvision"),
    ],
)
def test_statistics_that_cannot_be_meant_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        normalization(*arguments)


def test_a_mean_of_zero_fits_either_scale():
    assert normalization("caffe", [0, 0, 0]).mean == normalization("torchvision", [0, 0, 0]).mean == (0, 0, 0)


def test_what_nobody_states_is_left_to_the_weights():
    assert stated(None) is None
    assert stated("caffe", [1, 2, 3]) == normalization("caffe", [1, 2, 3])


@pytest.mark.parametrize("statistics", [{"mean": [1, 2, 3]}, {"std": [1, 2, 3]}])
def test_statistics_without_a_name_are_refused(statistics):
    with pytest.raises(ValueError, match=r"need backbone.normalization=caffe or torchvision"):
        stated(None, **statistics)


def test_a_file_says_its_normalisation_in_its_metadata():
    assert from_metadata({}) is None
    assert from_metadata({"format": "pt"}) is None
    assert from_metadata({"normalization": "torchvision"}) == TORCHVISION
    said = from_metadata({"normalization": "caffe", "mean": "3.5, 2,1", "std": "1,2,4"})
    assert said == Normalization("bgr", 1, (3.5, 2, 1), (1, 2, 4))


@pytest.mark.parametrize(
    "metadata",
    [{"normalization": "other"}, {"normalization": "caffe", "mean": "red"}, {"normalization": "caffe", "mean": "1,2"}],
)
def test_metadata_that_makes_no_sense_is_refused(metadata):
    with pytest.raises(ValueError, match=r"backbone|could not convert"):
        from_metadata(metadata)


# ---- other numbers of channels


def test_a_single_channel_takes_the_average_and_further_ones_too():
    three = Normalization("bgr", 1.0, (1.0, 2.0, 6.0), (1.0, 2.0, 3.0))
    assert widened(three, 1) == Normalization("bgr", 1.0, (3.0,), (2.0,))
    assert widened(three, 2) == Normalization("bgr", 1.0, (3.0, 3.0), (2.0, 2.0))
    assert widened(three, 3) == three
    assert widened(three, 5) == Normalization("bgr", 1.0, (1.0, 2.0, 6.0, 3.0, 3.0), (1.0, 2.0, 3.0, 2.0, 2.0))


def test_statistics_of_every_channel_can_be_stated():
    assert normalization("caffe", [1, 2, 3, 90], channels=4).mean == (1, 2, 3, 90)
    assert normalization("caffe", [1, 2, 3, 90], channels=4).std == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"backbone.mean must be 4 numbers"):
        normalization("caffe", [1, 2, 3], channels=4)


def test_metadata_may_hold_more_channels():
    assert from_metadata({"normalization": "caffe", "mean": "1,2,3,4"}).mean == (1, 2, 3, 4)


# ---- what is stated against what belongs to the weights


def test_contradictions_in_order_or_scale_are_refused_and_means_may_differ():
    other = normalization("caffe", [1, 2, 3])
    assert settled(other, CAFFE, "a file") == other
    assert settled(CAFFE, other, "a file") == CAFFE
    assert settled(CAFFE, other, "a file", own_statistics=True) == other
    assert settled(None, other, "a file") == settled(other, None, "a file") == other
    with pytest.raises(ValueError, match=r"a file was trained on RGB images on 0\.\.1, but .* BGR on 0\.\.255"):
        settled(CAFFE, TORCHVISION, "a file")
    with pytest.raises(ValueError, match="a file does not say how its images were normalised"):
        settled(None, None, "a file")
