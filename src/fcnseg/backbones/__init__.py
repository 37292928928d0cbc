"""Classifiers turned fully convolutional: one module a net, found by its name."""

import importlib
import pkgutil

from fcnseg.backbones.base import Backbone


def backbone_class(name: str) -> type[Backbone]:
    """Returns the backbone that the module of this name in fcnseg.backbones defines.

    Raises:
        ValueError: there is none; names those that there are.
    """
    found = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Backbone) and value.__module__ == module.name:
                found[module.name.rpartition(".")[2]] = value
    found.pop("base", None)
    if name not in found:
        raise ValueError(f"backbone.name={name} is no backbone; choose one of {', '.join(found)}")
    return found[name]
