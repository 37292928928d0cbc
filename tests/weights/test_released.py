"""Caffe's published weights: the table, the cache, and what is said without a network."""

import re

import numpy as np
import pytest

from caffemodels import caffemodel
from fcnseg.backbones import backbone_class
from fcnseg.fetch import FetchError
from fcnseg.weights import released
from fcnseg.weights.released import RELEASED, released_file

NAMES = ("caffenet", "bvlc_googlenet", "vgg16", "vgg19")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", RELEASED)
def test_digests_are_sha1_where_they_are_known(name):
    assert RELEASED[name].sha1 is None or re.fullmatch(r"[0-9a-f]{40}", RELEASED[name].sha1)
    assert "://" not in RELEASED[name].host


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_of_every_backbone_are_in_the_table_with_a_digest(name):
    assert RELEASED[backbone_class(name).caffe_weights].sha1


def test_a_file_is_asked_for_safely_first_and_with_its_digest(cache, monkeypatch):
    asked = {}
    monkeypatch.setattr(released, "fetch", lambda urls, target, **how: asked.update(urls=urls, **how) or target)
    assert released_file("bvlc_googlenet") == cache / "bvlc_googlenet.caffemodel"
    assert [url.partition(":")[0] for url in asked["urls"]] == ["https", "http"]
    assert asked["checksum"] == f"sha1:{RELEASED['bvlc_googlenet'].sha1}"


def test_a_file_without_a_published_digest_is_read_before_it_is_kept(cache, monkeypatch):
    def fetched(urls, target, *, checksum, **_):
        assert checksum is None
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    monkeypatch.setattr(released, "fetch", fetched)
    content = b"<html>moved</html>"
    with pytest.raises(FileNotFoundError, match=r"what came from there is no \.caffemodel"):
        released_file("fcn-alexnet-pascal")
    assert not (cache / "fcn-alexnet-pascal.caffemodel").exists()
    content = caffemodel({"score_fr": ("Convolution", [np.ones((21, 4, 1, 1), np.float32), np.ones(21, np.float32)])})
    assert released_file("fcn-alexnet-pascal").read_bytes() == content


def test_without_a_network_the_message_says_which_file_to_put_where(cache, monkeypatch):
    def unreachable(*_, **__):
        raise FetchError("no network")

    monkeypatch.setattr(released, "fetch", unreachable)
    with pytest.raises(FileNotFoundError, match="no network") as error:
        released_file("bvlc_reference_caffenet")
    assert str(cache / "bvlc_reference_caffenet.caffemodel") in str(error.value)
    assert "backbone.weights=PATH or init_from=PATH" in str(error.value)


def test_unknown_weights_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no published weights 'fcn4s'; there are bvlc_reference_caffenet, "):
        released_file("fcn4s")
