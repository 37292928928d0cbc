"""Who enters a comparison computes the same thing from the same images."""

import pytest
import torch

from fcnseg.benchmarks.nets import (
    OTHER,
    OURS,
    PEER,
    PEER_LAST,
    PLAIN,
    Setting,
    entrant,
    fill,
    images_of,
    labels,
    normalized,
    targets_of,
)

SMALL = Setting(size=(40, 24), batch=2)


def test_images_and_targets_are_the_same_every_time():
    assert images_of(SMALL).shape == (2, 3, 24, 40)
    assert torch.equal(images_of(SMALL), images_of(SMALL))
    targets = targets_of(SMALL)
    assert torch.equal(targets, targets_of(SMALL))
    assert set(targets.unique().tolist()) == {*range(21), 255}
    assert 0.01 < (targets == 255).float().mean() < 0.1


def test_ours_in_the_window_and_plain_are_the_same_function(narrow_vgg):
    window, plain = (entrant(label, SMALL) for label in (OURS, PLAIN))
    assert (window.net.backbone.padding_mode, plain.net.backbone.padding_mode) == ("window", "plain")
    with torch.inference_mode():
        ours, same = (each.net.eval()(each.images) for each in (window, plain))
    assert (ours - same).abs().max() <= 5e-5 * same.abs().max() > 0


def test_the_peer_gets_what_our_backbone_makes_of_the_images(narrow_vgg):
    images = images_of(SMALL)
    assert torch.equal(normalized(images), entrant(OURS, SMALL).net.backbone.normalize(images))


def test_equal_layers_get_equal_filters_and_fixed_upsampling_stays(peers, narrow_vgg):
    setting = Setting(size=(8, 8), peers=peers)
    first, second = entrant(PEER, setting).net, entrant(PEER_LAST, setting).net
    assert torch.equal(first.conv1_1.weight, second.conv1_1.weight)
    assert second.score_fr.weight.is_contiguous(memory_format=torch.channels_last)
    nested = torch.nn.ModuleDict({"backbone": torch.nn.ModuleDict({"conv1_1": torch.nn.Conv2d(3, 8, 3)})})
    fill(nested.to(memory_format=torch.channels_last))
    assert torch.equal(nested["backbone"]["conv1_1"].weight, first.conv1_1.weight)
    before = first.upscore.weight.clone()
    fill(first)
    assert torch.equal(first.upscore.weight, before)


@pytest.mark.parametrize("label", [OURS, PEER])
def test_weights_and_inputs_have_the_type_that_is_asked_for(label, peers, narrow_vgg):
    each = entrant(label, Setting(size=(8, 8), peers=peers), torch.bfloat16)
    assert {parameter.dtype for parameter in each.net.parameters()} == {torch.bfloat16}
    assert each.images.dtype == (torch.uint8 if label == OURS else torch.bfloat16)


def test_only_those_enter_that_can_be_had(peers):
    everyone = (OURS, PLAIN, PEER, PEER_LAST, OTHER)
    assert labels(Setting(peers=peers), everyone) == list(everyone)
    assert labels(Setting(), everyone) == [OURS, PLAIN, OTHER]
    assert labels(Setting(backbone="caffenet", peers=peers), everyone) == [OURS, PLAIN, OTHER]
    assert labels(Setting(backbone="squeezenet", peers=peers), everyone) == [OURS, OTHER]
