"""Parameter groups by the authors' rules, and learning rates over time."""

import pytest
import torch

from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.fcn import FCN
from fcnseg.optim import parameter_groups, schedule_factor

RATES = {"lr": 0.5, "weight_decay": 0.25}


@pytest.fixture
def net():
    return FCN(SqueezeNet(), 3, 8)


def rules(net, **options):
    """{parameter: (lr, weight_decay)} of everything that is trained."""
    groups = parameter_groups(net, net.score_layers, **RATES | options)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = [(names[id(p)], (group["lr"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found))
    return dict(found)


def is_bias(name):
    return name.endswith(".bias")


def is_head(name):
    return name.startswith("score_")


def test_biases_learn_twice_as_fast_and_do_not_decay(net):
    found = rules(net)
    assert found.keys() == dict(net.named_parameters()).keys()
    assert all(rule == ((1.0, 0.0) if is_bias(name) else (0.5, 0.25)) for name, rule in found.items())


def test_the_score_rule_leaves_other_biases_like_weights(net):
    for name, rule in rules(net, bias_rule="score").items():
        assert rule == ((1.0, 0.0) if is_bias(name) and is_head(name) else (0.5, 0.25))


def test_biases_decay_when_they_are_told_to(net):
    assert {rule[1] for rule in rules(net, bias_decay=True).values()} == {0.25}


def test_factors_multiply_the_rates_of_their_groups(net):
    found = rules(net, head_lr_factor=10.0, bias_lr_factor=3.0)
    assert found["backbone.conv1.weight"][0] == 0.5
    assert found["backbone.conv1.bias"][0] == 1.5
    assert found["score_fr.weight"][0] == 5.0
    assert found["score_pool3.bias"][0] == 15.0


def test_groups_are_named_after_what_they_hold(net):
    groups = parameter_groups(net, net.score_layers, **RATES)
    assert {group["name"]: group["lr"] for group in groups} == {
        "base_biases": 1.0,
        "base_weights": 0.5,
        "head_biases": 1.0,
        "head_weights": 0.5,
    }


# ---- what is trained


def test_training_the_head_freezes_everything_else(narrow):
    net = FCN(narrow("vgg16")(), 3, 8)
    assert rules(net, train="head").keys() == {
        f"{layer}.{kind}" for layer in ("score_fr", "score_pool4", "score_pool3") for kind in ("weight", "bias")
    }
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == set(rules(net, train="head"))
    assert not net.backbone.fc6.weight.requires_grad
    assert not net.backbone.fc7.bias.requires_grad


def test_training_all_thaws_what_was_frozen(net):
    rules(net, train="head")
    assert len(rules(net)) == len(list(net.parameters()))
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_fixed_upsampling_has_nothing_to_train_and_learned_has(net):
    assert not [name for name in rules(net) if name.startswith("upsample")]
    learned = rules(FCN(net.backbone, 3, 8, learn_intermediate=True, learn_final=True))
    assert {name: learned[name] for name in learned if name.startswith("upsample")} == {
        "upsample16.weight": (0.5, 0.25),
        "upsample8.weight": (0.5, 0.25),
    }


def test_the_optimiser_moves_each_group_by_its_own_rule(net):
    groups = parameter_groups(net, net.score_layers, lr=0.1, weight_decay=0.01)
    optimizer = torch.optim.SGD(groups, lr=0.1)
    torch.nn.init.ones_(net.backbone.conv1.bias)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in net.named_parameters():
        expected = before[name] - (0.2 if is_bias(name) else 0.1 * (1 + 0.01 * before[name]))
        torch.testing.assert_close(value.detach(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "none"}, "model.train must be one of all, head, not 'none'"),
        ({"bias_rule": "none"}, "optimizer.bias_rule must be all or score, not 'none'"),
    ],
)
def test_unknown_choices_are_refused(options, message, net):
    with pytest.raises(ValueError, match=message):
        rules(net, **options)


# ---- rates over time


def test_a_fixed_rate_stays():
    factor = schedule_factor("fixed", 10)
    assert [factor(step) for step in (0, 1, 9, 100)] == [1, 1, 1, 1]


def test_poly_falls_to_zero_at_the_end():
    factor = schedule_factor("poly", 10)
    assert [factor(step) for step in range(11)] == pytest.approx([(1 - step / 10) ** 0.9 for step in range(11)])
    assert factor(11) == factor(10) == 0
    assert schedule_factor("poly", 10, power=2)(5) == 0.25


@pytest.mark.parametrize("schedule", ["fixed", "poly"])
def test_warming_up_rises_in_equal_steps(schedule):
    plain, warm = schedule_factor(schedule, 20), schedule_factor(schedule, 20, warmup=4)
    assert [warm(step) / plain(step) for step in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


def test_schedules_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"optimizer.schedule must be one of fixed, poly, not 'cosine'"):
        schedule_factor("cosine", 10)


@pytest.mark.parametrize("steps", [-1, 0])
def test_poly_needs_an_end(steps):
    with pytest.raises(ValueError, match=r"optimizer.schedule=poly needs to know the end: set trainer.max_steps"):
        schedule_factor("poly", steps)
