"""A checkpoint's configuration and net; what is refused is tested through fcnseg.evaluate."""

from dataclasses import asdict

import pytest
import torch

from fcnseg.build import bare_net
from fcnseg.restoration import settings_of, trained_net
from fcnseg.weights.normalization import TORCHVISION
from fcnseg.weights.stages import Stage
from runs import SMALL, composed


@pytest.fixture
def stage(tmp_path):
    """A net of random weights as a checkpoint would tell of it."""
    config = composed(*SMALL)
    state = bare_net(config, 4, TORCHVISION).state_dict()
    record = {"config": asdict(config), "normalization": asdict(TORCHVISION), "num_classes": 4}
    return Stage(tmp_path / "a.ckpt", state, record)


def test_the_net_has_the_weights_the_classes_and_the_normalisation(stage):
    net = trained_net(stage, settings_of(stage))
    assert net.num_classes == 4
    assert net.backbone.normalization == TORCHVISION
    assert all(torch.equal(net.state_dict()[name], value) for name, value in stage.state.items())


def test_values_are_laid_over_the_trainings(stage):
    changed = settings_of(stage, {"trainer": {"precision": "64-true"}, "data": {"image_side": 9}})
    assert (changed.data.image_side, settings_of(stage).data.image_side) == (9, None)
    assert trained_net(stage, changed).score_fr.weight.dtype == torch.float64


def test_a_configuration_of_another_version_is_named(stage):
    stage.record["config"]["model"]["depth"] = 3
    with pytest.raises(ValueError, match=r"a\.ckpt was written by another version of fcnseg: Key 'depth' not in"):
        settings_of(stage)


def test_weights_that_do_not_fit_are_named(stage):
    with pytest.raises(ValueError, match=r"a\.ckpt does not hold the net that it describes"):
        trained_net(stage._replace(state={}), settings_of(stage))
