"""The loader's benchmark: all of its parts on the same images, drawn or of a devkit, and peers that agree with it."""

import numpy as np
import pytest
import torch

from fcnseg.benchmarks.loader import HEIGHT, LATER, OURS, PEER, WIDTH, drawn_devkit, kept_in, measure, ways
from fcnseg.data.fast import numbers_of_png, rgb_of_jpeg
from fcnseg.data.voc import open_split
from tiny_voc import write_devkit


def test_the_whole_path_its_parts_and_the_peer_are_measured():
    found = measure(images=5, repeat=1, crop=64, batch=2)
    assert found["title"] == "4 images, drawn, 500x375, 1 rounds, in batches of 2 crops of 64"
    rows = {row["what"]: row for row in found["rows"]}
    assert next(iter(rows)) == OURS
    assert PEER in rows
    assert len(rows) == 8
    assert {len(seconds) for seconds in found["seconds"].values()} == {1}
    assert rows[OURS][f"times {OURS}"] == 1
    for row in rows.values():
        assert row["images/s"] == pytest.approx(1000 / row["ms"])


def test_drawn_files_are_plain_as_vocs_and_the_peer_makes_the_same_batches(tmp_path):
    source = open_split(str(drawn_devkit(tmp_path, 2)), "2012", "train")
    assert source.size(0) == (HEIGHT, WIDTH)
    assert 80_000 < source.pairs[0].image.stat().st_size < 160_000
    assert rgb_of_jpeg(source.pairs[0].image) is not None
    assert len(np.unique(numbers_of_png(source.pairs[0].mask))) > 1
    compared = ways(source, kept_in(tmp_path / "decoded", source), range(2), 48, 2)
    assert source.decoded is None
    ours, first, later, theirs = (compared[way]()[0] for way in (OURS, OURS + LATER, OURS + LATER, PEER))
    assert len(list((tmp_path / "decoded").iterdir())) == 2
    assert torch.equal(ours.images, first.images)
    assert torch.equal(ours.images, later.images)
    assert ours.images.shape == theirs[0].shape == (2, 3, 48, 48)
    assert ours.targets.shape == theirs[1].shape
    assert ours.images.dtype == theirs[0].dtype == torch.uint8


def test_a_devkit_without_images_of_that_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 training images of 500x375 make no batch of 8 crops of 320"):
        measure(str(write_devkit(tmp_path)))
