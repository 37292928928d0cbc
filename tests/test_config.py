"""Every configuration composes; a misspelt key, a wrong type and an unknown choice do not."""

import ast
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fcnseg import config
from fcnseg.config import CONF_DIR, EXPERIMENTS_DIR, BoundConfig, EvaluateConfig, TrainConfig, register

PRIMARIES = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in EXPERIMENTS_DIR.glob("*.yaml"))
GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(CONF_DIR.iterdir())
    if folder.is_dir() and folder.name != "hydra"
}
CHOICES = [(group, choice) for group, choices in GROUPS.items() for choice in choices]


@pytest.fixture(scope="module", autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


def leaves(node, prefix=""):
    """Every value below a node with its full key, dataclasses and dictionaries alike."""
    pairs = ((field.name, getattr(node, field.name)) for field in fields(node)) if is_dataclass(node) else node.items()
    for key, value in pairs:
        if is_dataclass(value) or (isinstance(value, dict) and value):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def resolved(name, *overrides):
    """Composes, fills in what users must say, and returns the plain dataclasses: every reference has been followed."""
    return followed(compose(name, overrides=list(overrides)))


def followed(composed):
    for key in OmegaConf.missing_keys(composed):
        OmegaConf.update(composed, key, "said")
    return OmegaConf.to_object(composed)


# ---- what composes


@pytest.mark.parametrize("name", PRIMARIES + EXPERIMENTS)
def test_every_primary_composes_into_a_schema(name):
    composed = compose(name)
    schema = OmegaConf.get_type(composed)
    assert schema.__module__ == f"{config.__name__}.commands"
    if name in ("train", *EXPERIMENTS):
        assert schema in (TrainConfig, BoundConfig)
        assert isinstance(resolved(name), schema)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS or ["train"])
def test_every_row_of_every_experiment_composes(name):
    experiment = resolved(name).experiment
    schema = OmegaConf.get_type(compose(name))
    for row, overrides in experiment.rows.items():
        chosen = (
            [f"row={row}"] if schema is TrainConfig else []
        )  # a bound's results say for themselves which row they are
        assert isinstance(resolved(name, *chosen, *overrides), schema)
    assert name == "train" or (experiment.title and experiment.source and experiment.rows)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_of_every_group_composes(group, choice):
    settings = resolved("train", f"{group}={choice}")
    assert isinstance(settings, TrainConfig)
    if hasattr(getattr(settings, group), "name"):
        assert getattr(settings, group).name == choice


@pytest.mark.parametrize("choice", GROUPS["data"])
def test_evaluation_takes_every_data_set(choice):
    composed = compose("evaluate", overrides=["checkpoint=run", f"data={choice}"])
    assert OmegaConf.get_type(composed) is EvaluateConfig
    assert composed.data.name == choice


@pytest.fixture(scope="module")
def parts(hydra):
    """What each choice of a group puts below the group's name, references unfollowed; composing takes its time."""
    names = ("data", "model", "backbone")
    return {name: [compose("train", overrides=[f"{name}={each}"])[name] for each in GROUPS[name]] for name in names}


@pytest.mark.parametrize("recipe", GROUPS["recipe"])
def test_every_reference_resolves_with_all_data_models_and_backbones(recipe, parts):
    composed = compose("train", overrides=[f"recipe={recipe}"])
    # Every pair of neighbours in the turning lists: each choice meets several of the others.
    rounds = max(len(choices) for choices in parts.values())
    for turn in range(2 * rounds):
        for place, (name, choices) in enumerate(parts.items()):
            setattr(composed, name, choices[(turn + place * (turn // rounds)) % len(choices)])
        settings = followed(composed)
        unresolved = [key for key, value in leaves(settings) if "${" in str(value) or value == "???"]
        assert unresolved == [], composed.data.name
        assert isinstance(settings, TrainConfig)


# ---- what does not


def refusal(*overrides, name="train"):
    """Everything that Hydra prints of the refusal of a command line."""
    with pytest.raises(HydraException) as caught:
        compose(name, overrides=list(overrides))
    error: Any = caught.value
    said = ""
    while error is not None:
        said += f"{error}\n"
        error = error.__cause__
    return said


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optimizer.lrr=1", "optimizer.lrr"),
        ("data.suited.krop=3", "data.suited.krop"),
        ("seeed=1", "seeed"),
        ("trainer.maxsteps=1", "trainer.maxsteps"),
    ],
)
def test_a_misspelt_key_is_refused_by_name(override, key):
    assert key in refusal(override)


@pytest.mark.parametrize("override", ["chekpoint=run", "trainer.devcies=2", "data.rot=/"])
def test_a_misspelt_key_of_the_evaluation_is_refused_by_name(override):
    assert override.partition("=")[0] in refusal(override, name="evaluate")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.max_steps", "many"),
        ("model.output_stride", "8s"),
        ("data.flip", "sometimes"),
        ("data.suited.lr", "small"),
        ("optimizer.momentum", "[0.9]"),
        ("backbone.mean", "[red,green,blue]"),
        ("seed", "1.5"),
    ],
)
def test_a_wrong_type_is_refused_with_its_key_and_value(key, value):
    said = refusal(f"{key}={value}")
    assert f"full_key: {key}" in said
    assert value.strip("[]").split(",")[0] in said


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_an_unknown_choice_is_refused_and_the_choices_are_listed(group):
    said = refusal(f"{group}=nosuch")
    assert f"{group}/nosuch" in said
    assert all(choice in said for choice in GROUPS[group])


# ---- recipes


def pinned_keys():
    """The keys whose default is the recipe's value of the same name."""
    return {key: value for key, value in leaves(TrainConfig()) if "${" in str(value)}


def test_a_pinned_key_refers_to_its_own_name():
    assert len(pinned_keys()) > 15
    assert all(value == f"${{recipe.settings.{key}}}" for key, value in pinned_keys().items())


@pytest.mark.parametrize("recipe", GROUPS["recipe"])
def test_a_recipe_has_a_source_and_sets_every_pinned_key_and_no_unknown_one(recipe):
    settings = resolved("train", f"recipe={recipe}")
    assert settings.recipe.source
    pinned = {key for key, _ in leaves(settings.recipe.settings)}
    assert pinned >= set(pinned_keys())
    assert pinned <= {key for key, _ in leaves(settings)}


@pytest.mark.parametrize("recipe", GROUPS["recipe"])
def test_the_configuration_says_what_the_recipe_says(recipe):
    settings = resolved("train", f"recipe={recipe}", "data=shapes")
    said = dict(leaves(settings))
    assert {key: said[key] for key, _ in leaves(settings.recipe.settings)} == dict(leaves(settings.recipe.settings))


def test_the_published_numbers():
    heavy, averaged = (resolved("train", f"recipe={name}") for name in ("pami_heavy", "cvpr2015"))
    assert heavy.recipe.lr["vgg16"] == {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-14, "fcn8s_atonce": 1e-10}
    steps = {
        name: resolved("train", "recipe=pami_heavy", f"model={name}").trainer.max_steps for name in heavy.recipe.steps
    }
    assert steps == {
        "fcn32s": 100000,
        "fcn16s": 100000,
        "fcn8s": 100000,
        "fcn8s_atonce": 300000,
        "fcn16s_pool4": 100000,
    }
    assert (heavy.optimizer.momentum, heavy.loss.reduction) == (0.99, "sum")
    assert heavy.data.batch_size * heavy.trainer.accumulate == 1
    assert averaged.recipe.lr["vgg16"] == {"fcn32s": 1e-4, "fcn16s": 1e-6, "fcn8s": 1e-8}
    assert (averaged.optimizer.momentum, averaged.loss.reduction) == (0.9, "mean")
    assert averaged.data.batch_size * averaged.trainer.accumulate == 20
    for one in (heavy, averaged):
        assert (one.optimizer.weight_decay, one.optimizer.bias_lr_factor, one.optimizer.bias_decay) == (5e-4, 2, False)
        assert (one.data.batching, one.data.flip, one.data.scale, one.data.crop) == ("whole", False, None, None)


# ---- the schema explains itself


def schema_classes():
    files = sorted(Path(config.__file__).parent.glob("*.py"))
    return [node for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("node", schema_classes(), ids=lambda node: node.name)
def test_every_knob_is_explained_below_its_line(node):
    assert ast.get_docstring(node)
    names = {each.name for each in schema_classes()}
    bare = [
        field.target.id
        for field, below in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign)
        and ast.unparse(field.annotation) not in names  # a part is explained at its own class
        and not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]
    assert bare == []


def test_the_folders_are_those_of_the_repository():
    assert (CONF_DIR / "train.yaml").is_file()
    assert EXPERIMENTS_DIR.name == "experiments"
