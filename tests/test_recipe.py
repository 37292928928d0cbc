"""The learning rate by backbone and stage, and the departures from a recipe."""

import pytest

from fcnseg.recipe import departures, learning_rate, recipe_label
from runs import composed


@pytest.mark.parametrize(
    ("recipe", "model", "rate"),
    [
        ("pami_heavy", "fcn32s", 1e-10),
        ("pami_heavy", "fcn16s", 1e-12),
        ("pami_heavy", "fcn8s", 1e-14),
        ("pami_heavy", "fcn8s_atonce", 1e-10),
        ("cvpr2015", "fcn32s", 1e-4),
        ("cvpr2015", "fcn16s", 1e-6),
        ("cvpr2015", "fcn8s", 1e-8),
    ],
)
def test_the_rate_is_the_recipes_for_backbone_and_stage(recipe, model, rate):
    config = composed(f"recipe={recipe}", "backbone=vgg16")
    config.model.name = model
    assert learning_rate(config) == rate


@pytest.mark.parametrize(("model", "backbone"), [("fcn32s", "vgg16"), ("fcn8s_atonce", "squeezenet")])
def test_the_modern_rate_is_the_one_that_suits_the_data(model, backbone):
    photographs, shapes = composed("data=voc2012", "data.root=/"), composed()
    for config in (photographs, shapes):
        config.model.name, config.backbone.name = model, backbone
        assert learning_rate(config) == config.data.suited.lr
    assert learning_rate(photographs) != learning_rate(shapes)


def test_the_command_line_wins():
    assert learning_rate(composed("recipe=pami_heavy", "backbone=vgg16", "optimizer.lr=3e-9")) == 3e-9
    assert learning_rate(composed("recipe=pami_heavy", "backbone=squeezenet", "optimizer.lr=3e-9")) == 3e-9
    assert learning_rate(composed("optimizer.lr=0")) == 0


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (
            ["recipe=pami_heavy", "backbone=squeezenet", "model=fcn16s"],
            "recipe=pami_heavy .* fcn16s on squeezenet with optimizer=sgd",
        ),
        (
            ["recipe=cvpr2015", "backbone=vgg16", "model=fcn8s_atonce"],
            "recipe=cvpr2015 .* fcn8s_atonce on vgg16 with optimizer=sgd",
        ),
    ],
)
def test_a_missing_rate_names_recipe_backbone_and_stage(overrides, what):
    with pytest.raises(ValueError, match=f"{what}: set optimizer.lr$"):
        learning_rate(composed(*overrides))


@pytest.mark.parametrize("recipe", ["modern", "cvpr2015", "pami_heavy"])
def test_a_recipe_does_not_depart_from_itself(recipe):
    config = composed(f"recipe={recipe}", "backbone=vgg16", "data=voc2012", "data.root=/")
    assert departures(config) == []
    assert recipe_label(config) == recipe


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["optimizer.momentum=0.9"], {"optimizer.momentum"}),
        (["optimizer.lr=1e-10"], {"optimizer.lr"}),
        (["optimizer=adamw"], {"optimizer.name"}),
        (["data.flip=true", "data.batching=crop"], {"data.flip", "data.batching"}),
        (["data.scale=[0.5,2]", "trainer.max_steps=7"], {"data.scale", "trainer.max_steps"}),
        (["loss.reduction=mean"], {"loss.reduction"}),
        (["model.learn_intermediate=true"], {"model.learn_intermediate"}),
        (["loss.keep=0.5", "loss.class_weights=balanced"], {"loss.keep", "loss.class_weights"}),
        (["loss.balance_sampling=true"], {"loss.balance_sampling"}),
        (["model.train=head"], {"model.train"}),
        (["model.learn_final=true"], {"model.learn_final"}),
        (["data.image_side=200"], {"data.image_side"}),
    ],
)
def test_every_departure_is_recorded(overrides, keys):
    config = composed("recipe=pami_heavy", *overrides)
    assert set(departures(config)) == keys
    assert recipe_label(config) == "pami_heavy+modified"


def test_what_a_recipe_leaves_open_departs_once(monkeypatch):
    config = composed("model.train=head", "model.learn_final=true")
    assert departures(config) == ["model.train", "model.learn_final"]


def test_what_equals_the_recipe_is_no_departure():
    config = composed("recipe=pami_heavy", "optimizer.momentum=0.99", "data.flip=false", "trainer.max_steps=100000")
    assert recipe_label(config) == "pami_heavy"


@pytest.mark.parametrize("override", ["seed=4", "data=shapes", "backbone=squeezenet", "data.workers=0", "row=a"])
def test_what_a_recipe_does_not_pin_is_no_departure(override):
    assert recipe_label(composed("recipe=pami_heavy", override)) == "pami_heavy"
