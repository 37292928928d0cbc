"""Pixels of each class, counted over masks of files and of drawn images."""

import numpy as np
import pytest

from fcnseg.data.dataset import ImageFiles
from fcnseg.data.frequencies import class_pixels
from fcnseg.data.shapes import Shapes
from fcnseg.data.voc import open_split
from tiny_voc import picture, write_devkit, write_mask


@pytest.mark.parametrize("workers", [0, 3])
def test_files_are_counted_without_their_images(tmp_path, monkeypatch, workers):
    source = open_split(str(write_devkit(tmp_path, train=5)), "2012", "train")
    monkeypatch.delattr(ImageFiles, "read_image")
    labels = np.concatenate([picture(number)[1].ravel() for number in range(5)])
    expected = [int((labels == label).sum()) for label in range(21)]
    assert class_pixels(source, workers) == expected
    assert 0 < sum(expected) < len(labels)


def test_drawn_masks_are_counted():
    source = Shapes("train", 4, 40, 50, 0)
    labels = np.stack([source.read(index)[1] for index in range(4)])
    assert class_pixels(source) == [int((labels == label).sum()) for label in range(len(source.classes))]


def test_other_labels_are_refused(tmp_path):
    source = open_split(str(write_devkit(tmp_path)), "2012", "train")
    write_mask(source.pairs[1].mask, np.full((72, 48), 40, np.uint8))
    with pytest.raises(ValueError, match=r"40"):
        class_pixels(source)
