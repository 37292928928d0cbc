"""From what Hydra composed to the settings of a command."""

import copy

import pytest
from omegaconf import OmegaConf

from fcnseg.config import TrainConfig, resolved
from runs import _groups


def train(value):
    config = copy.deepcopy(_groups(()))
    OmegaConf.update(config, "recipe.settings.data.scale", value)
    return resolved(config, TrainConfig)


@pytest.mark.parametrize("value", ["os", 1, ["a", "b"], [True, 1.0], [[0.5], 1.0]])
def test_a_recipe_that_gives_no_numbers_for_a_list_of_them_is_refused(value):
    with pytest.raises(ValueError, match=r"^data\.scale=.* must be a list of numbers, such as \[0\.7,1\.5\]$"):
        train(value)


@pytest.mark.parametrize("value", [None, [0.5, 2.5]])
def test_a_recipe_may_give_numbers_or_nothing(value):
    assert train(value).data.scale == value
