"""What the numbers or colours in masks mean: labels of classes, or void."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fcnseg.data.decoding import Labels, mask_values
from fcnseg.shapes import VOID

SMALL = 255
"""Classes up to which labels are uint8 with void 255; with more they are int32 with void -1."""

UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Legend:
    """The labels that stand for what masks hold.

    Attributes:
        values: what stands for each class in the masks, in the order of labels: numbers, or colours as 0xRRGGBB.
        void: label of pixels that belong to no class.
        void_value: what stands for it in the masks; None if nothing does.
        colours: whether the values are colours.
    """

    values: tuple[int, ...]
    void: int = VOID
    void_value: int | None = VOID
    colours: bool = False

    def labels(self, path: Path) -> Labels:
        """Reads a mask as labels [h, w]: uint8 if all of them and void fit in there, else int32.

        Raises:
            ValueError: names the file that cannot be read, and the values in it that mean nothing, with their place.
        """
        values = mask_values(path, self.colours)
        if values.dtype == np.uint8:  # a table of 256 entries is quicker than a search for every pixel
            if self._is_vocs and self._are_labels(values):
                return cast(Labels, values)
            table, unknown = self._tables
            if not cv2.LUT(values, unknown).any():
                return cast(Labels, cv2.LUT(values, table))
        labels = self._labels_of(values.astype(np.int64))
        if (wrong := labels == UNKNOWN).any():
            raise ValueError(self._refusal(path, values, wrong))
        return self._narrowed(labels)

    def _are_labels(self, values: NDArray[Any]) -> bool:
        """Whether numbers of 8 bits are all labels or 255; says no, if wrongly, of labels from 128 on."""
        low, high, *_ = cv2.minMaxLoc(values.view(np.int8))  # void is -1 there
        return low >= -1 and high < len(self.values)

    @cached_property
    def _tables(self) -> tuple[Labels, NDArray[np.uint8]]:
        """The label of each number of 8 bits, and whether it has none."""
        labels = self._labels_of(np.arange(256))
        return self._narrowed(labels), (labels == UNKNOWN).astype(np.uint8)

    @cached_property
    def _is_vocs(self) -> bool:
        """Whether masks hold labels already, and 255 for void."""
        return self.values == tuple(range(len(self.values))) and self.void == self.void_value == VOID

    def _narrowed(self, labels: NDArray[np.int64]) -> Labels:
        small = len(self.values) <= 256 and 0 <= self.void <= 255
        return labels.astype(np.uint8) if small else labels.astype(np.int32)

    def _labels_of(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        known, labels = list(self.values), list(range(len(self.values)))
        if self.void_value is not None:  # first, so that a class of the same value is void
            known, labels = [self.void_value, *known], [self.void, *labels]
        order = np.argsort(known, kind="stable")
        places = np.searchsorted(np.array(known)[order], values).clip(max=len(known) - 1)
        found = order[places]
        return np.where(np.array(known)[found] == values, np.array(labels)[found], UNKNOWN)

    def _refusal(self, path: Path, values: NDArray[Any], wrong: NDArray[np.bool_]) -> str:
        row, column = np.argwhere(wrong)[0].tolist()
        found = [self._written(value) for value in np.unique(values[wrong])[:5].tolist()]
        classes = f"0..{len(self.values) - 1}"
        if self.values != tuple(range(len(self.values))):
            known = [self._written(value) for value in self.values[:8]]
            classes = ", ".join(known) + (", ..." if len(self.values) > len(known) else "")
        void = "none is set" if self.void_value is None else self._written(self.void_value)
        return (
            f"the mask {path} holds [{', '.join(found)}], first at row {row}, column {column}, which is neither a "
            f"class ({classes}) nor void ({void}): correct it, or take its id out of the split"
            + (" (a colour of no interest is data.void; resizing and JPEG blur colours)" if self.colours else "")
        )

    def _written(self, value: int) -> str:
        return f"({value >> 16}, {value >> 8 & 255}, {value & 255})" if self.colours else str(value)


def stated_legend(classes: Any, void: Any = None) -> tuple[tuple[str, ...], Legend]:
    """Reads data.classes and data.void.

    Args:
        classes: names, whose numbers are their places in the list; or {name: number} or {name: [red, green, blue]}.
        void: number or colour of pixels that do not count; a class of that value is left out. None is 255, or -1 where
            255 is a class, and nothing among colours.

    Returns:
        The names of the classes in the order of their labels, and what the masks hold for them.

    Raises:
        ValueError: names the key, and says what it may be.
    """
    entries = _entries(classes)
    colours = any(isinstance(value, Sequence) for _, value in entries)
    values = {name: _value(f"data.classes.{name}", value, colours) for name, value in entries}
    if void is not None:
        void_value: int | None = _value("data.void", void, colours)
    else:
        void_value = None if colours else next((each for each in (VOID, -1) if each not in values.values()), None)
    kept = {name: value for name, value in values.items() if value != void_value}
    if len(set(values.values())) < len(entries):
        raise ValueError(f"data.classes={classes} has a name or a value twice: each class needs one of its own")
    if len(kept) < 2:
        raise ValueError(f"data.classes={classes} must be two classes or more besides void")
    label = VOID if len(kept) <= SMALL else -1
    return tuple(kept), Legend(tuple(kept.values()), label, void_value, colours)


def _entries(classes: Any) -> list[tuple[str, Any]]:
    if isinstance(classes, Mapping):
        return [(str(name), value) for name, value in classes.items()]
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        return [(str(name), number) for number, name in enumerate(classes)]
    raise ValueError(
        f"data.classes={classes!r} must be a list of names, as in [background,road], or say what stands for each in "
        "the masks, as in {background: 0, road: 255} or {background: [0,0,0], road: [255,0,0]}"
    )


def _value(key: str, value: Any, colours: bool) -> int:
    if not colours and isinstance(value, int) and not isinstance(value, bool):
        return value
    if colours and isinstance(value, Sequence) and len(value) == 3 and all(part in range(256) for part in value):
        red, green, blue = (int(part) for part in value)
        return red << 16 | green << 8 | blue
    wanted = "a colour [red,green,blue] of 0..255, as the other classes are" if colours else "a whole number"
    raise ValueError(f"{key}={value} must be {wanted}")
