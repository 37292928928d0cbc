"""What a recipe decides: the learning rate by backbone and stage, and which keys have departed from it."""

from typing import Any

from fcnseg.config import TrainConfig


def learning_rate(config: TrainConfig) -> float:
    """Returns optimizer.lr, or the recipe's for this backbone and stage.

    Raises:
        ValueError: the recipe has none; says to set optimizer.lr.
    """
    if config.optimizer.lr is not None:
        return config.optimizer.lr
    rates = config.recipe.lr.get(config.backbone.name, config.recipe.lr.get("default", {}))
    rate = rates.get(config.model.name, rates.get("any"))
    optimizer = config.recipe.settings["optimizer"]["name"]
    if rate is None or optimizer != config.optimizer.name:
        raise ValueError(
            f"recipe={config.recipe.name} gives no learning rate for {config.model.name} on {config.backbone.name} "
            f"with optimizer={config.optimizer.name}: set optimizer.lr"
        )
    return float(rate)


UNPINNED = {
    "loss.keep": 1.0,
    "loss.class_weights": None,
    "loss.balance_sampling": False,
    "model.train": "all",
    "model.learn_intermediate": False,
    "model.learn_final": False,
    "data.image_side": None,
}
"""Values that hold where a recipe says nothing of the key."""

OPEN = ("backbone.normalization", None)
"""What a recipe says that leaves the normalisation to the weights."""


def departures(config: TrainConfig) -> list[str]:
    """Lists the keys whose values are not those that the recipe pins, or that hold without it, and optimizer.lr if set.

    A normalisation that the recipe leaves open belongs to the weights and is no departure.
    """
    pins = UNPINNED | {key: value for key, value in _leaves(config.recipe.settings) if (key, value) != OPEN}
    found = [key for key, value in pins.items() if _at(config, key) != value]
    return found + (["optimizer.lr"] if config.optimizer.lr is not None else [])


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        pairs += _leaves(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return pairs


def _at(config: TrainConfig, key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        node = getattr(node, part)
    return node


def recipe_label(config: TrainConfig) -> str:
    """Returns the recipe's name, with +modified where the run departs from it."""
    return config.recipe.name + ("+modified" if departures(config) else "")
