"""Each recipe is measured as it is configured, a small one here."""

from concurrent.futures.process import BrokenProcessPool

import pytest

from fcnseg.benchmarks import recipes
from fcnseg.benchmarks.nets import Setting
from fcnseg.benchmarks.recipes import MODELS, chosen, measure, peaks, said

SMALL = Setting(size=(40, 32))


def test_a_recipe_says_what_its_memory_depends_on():
    whole = {recipe: said(chosen(recipe, "vgg16"), Setting()) for recipe in MODELS}
    assert whole == {
        "modern": "modern: 8 crops of 320x320, adamw",
        "pami_heavy": "pami_heavy: 500x375, sgd",
        "cvpr2015": "cvpr2015: 500x375, 20 accumulated one by one, sgd",
        "release_alexnet": "release_alexnet: 500x375, 20 accumulated one by one, sgd",
    }


def test_steps_and_validation_are_measured():
    config = chosen("cvpr2015", "squeezenet")
    found = peaks(config, SMALL)
    assert found["net"] == pytest.approx(2.9, abs=0.5)
    assert set(found) == {"net", "validation", "training step"}


def test_a_step_takes_two_of_the_accumulated_images(monkeypatch):
    config, passes = chosen("cvpr2015", "squeezenet"), []
    net = recipes.bare_net(config, 21)
    monkeypatch.setattr(net, "scores", lambda images, old=net.scores: passes.append(len(images)) or old(images))
    before = net.score_fr.bias.clone() if hasattr(net, "score_fr") else next(net.parameters()).clone()
    recipes.training(config, net, SMALL)()
    assert passes == [1, 1]
    assert not net.score_fr.bias.equal(before)
    assert net.score_fr.bias.grad is None


def test_every_recipe_has_its_rows(monkeypatch):
    def child(_, config, setting):
        if config.backbone.name == "caffenet":
            raise BrokenProcessPool
        return {"net": 1.0, "validation": 2.0, "training step": 3.0}

    monkeypatch.setattr(recipes, "in_child", child)
    found = measure(SMALL, ("squeezenet",))["rows"]
    assert [row["what"] for row in found] == [*3 * ["fcn8s, squeezenet"], "fcn32s, caffenet"]
    assert "killed" in found[3]["failed"]
    assert found[2]["training step"] == 3
