"""A little segmentation set, drawn on the fly: 20 kinds of textured object, VOC's void border, no download.

A class is an outline with a texture in two colours. Classes share outlines, textures and colours: none of
these alone gives a class away. An image is a function of (seed, split, index) alone. Masks take only float32
arithmetic that IEEE 754 rounds exactly: they are the same everywhere. Values of an image may differ by one.
"""

import colorsys
import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.floating]
Pixels = NDArray[np.uint8]

DRAWING = 1  # enters the fingerprint: raise it with every change of the pictures
VOID = 255
BORDER = 5.0  # width of the void band, centred on an outline
SPLITS = {"train": 0, "val": 1}


def _length(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v)


def _unit(values: Array) -> Array:
    return np.clip(values, 0.0, 1.0)


# Outlines: signed distances, negative inside, to what fits the unit circle. u points right and v down.


def _box(u: Array, v: Array, half_width: float, half_height: float) -> Array:
    right, down = np.abs(u) - half_width, np.abs(v) - half_height
    outside = _length(np.maximum(right, 0.0), np.maximum(down, 0.0))
    return outside + np.minimum(np.maximum(right, down), 0.0)


def _star(u: Array, v: Array, points: int, tip: float, valley: float) -> Array:
    across, along = math.cos(math.pi / points), math.sin(math.pi / points)
    right, up = np.abs(u), -v
    for _ in range(points // 2):  # fold the points onto half of the upper one
        fold = 2.0 * np.maximum(across * right - along * up, 0.0)
        right, up = np.abs(right - across * fold), up + along * fold
    edge, up = (valley * along, valley * across - tip), up - tip
    reach = _unit((right * edge[0] + up * edge[1]) / (edge[0] ** 2 + edge[1] ** 2))
    return _length(right - edge[0] * reach, up - edge[1] * reach) * np.sign(up * edge[0] - right * edge[1])


def _heart(u: Array, v: Array) -> Array:
    lobe = _length(np.abs(u) - 0.4, v + 0.4) - 0.4 * math.sqrt(2.0)
    return np.asarray(np.minimum(math.sqrt(0.5) * _box(u + v, u - v, 0.8, 0.8), lobe))


# By name: the relative size, such that all cover about as many pixels, and the distance.
OUTLINES: dict[str, tuple[float, Callable[[Array, Array], Array]]] = {
    "disc": (0.84, lambda u, v: _length(u, v) - 1.0),
    "ring": (0.98, lambda u, v: np.abs(_length(u, v) - 0.69) - 0.31),
    "bar": (1.18, lambda u, v: _box(u, v, 0.58, 0.0) - 0.42),
    "square": (1.05, lambda u, v: _box(u, v, 0.64, 0.64) - 0.08),
    "cross": (1.04, lambda u, v: np.minimum(_box(u, v, 0.92, 0.38), _box(u, v, 0.38, 0.92))),
    "triangle": (1.12, lambda u, v: _star(u, v, 3, 0.88, 0.44) - 0.12),
    "star": (1.14, lambda u, v: _star(u, v, 5, 0.94, 0.5) - 0.06),
    "arch": (1.12, lambda u, v: _length(_length(u, np.minimum(v, 0.0)) - 0.64, np.maximum(v, 0.0)) - 0.36),
    "leaf": (1.15, lambda u, v: _length(np.abs(u) + 0.613, v) - 1.173),
    "heart": (0.98, _heart),
}


def _wave(phase: Array) -> Array:
    return _unit(5.0 * np.abs(phase % 1.0 - 0.5) - 0.75)


def _field(rng: Generator, shape: tuple[int, ...], period: float) -> Array:
    """Smooth noise, 0 to 1, [height, width]: random knots every `period` pixels, linear in between."""
    places = (np.arange(size, dtype=np.float32)[:, None] / period for size in shape)
    down, across = (np.maximum(1.0 - np.abs(place - np.arange(place[-1, 0] + 2)), 0.0) for place in places)
    return np.asarray(down @ rng.random((down.shape[1], across.shape[1])) @ across.T, np.float32)


# By name: the share of the second colour, 0 to 1, where u and v are in the object's frame and count periods.
TEXTURES: dict[str, Callable[[Array, Array, Generator], Array]] = {
    "striped": lambda u, v, rng: _wave(u + 0.35 * v + rng.random()),
    "checked": lambda u, v, rng: np.abs(_wave(0.8 * u + rng.random()) - _wave(0.8 * v + rng.random())),
    "dotted": lambda u, v, rng: _unit(2.5 - 6.0 * _length((u + rng.random()) % 1.0 - 0.5, v % 1.0 - 0.5)),
    "shaded": lambda u, v, rng: _unit(0.23 * v + rng.uniform(0.4, 0.6)),
    "speckled": lambda u, v, rng: _unit(
        3.0 * _field(rng, u.shape, 0.6 / math.hypot(u[0, 1] - u[0, 0], v[0, 1] - v[0, 0])) - 1.0
    ),
    "ringed": lambda u, v, rng: _wave(_length(u, v) + rng.random()),
    "wedged": lambda u, v, rng: _unit(0.5 + 5.0 * u * v * (u - v) * (u + v) / (u * u + v * v + 0.05) ** 2),
}

# hue, saturation and value, each 0 to 1
COLOURS = {
    "red": (0.99, 0.85, 0.80), "orange": (0.07, 0.90, 0.92), "yellow": (0.145, 0.85, 0.95),
    "green": (0.34, 0.75, 0.55), "teal": (0.49, 0.80, 0.62), "blue": (0.61, 0.80, 0.72),
    "purple": (0.77, 0.65, 0.60), "pink": (0.91, 0.50, 0.95), "brown": (0.06, 0.65, 0.42),
    "white": (0.12, 0.06, 0.95), "black": (0.65, 0.25, 0.12),
}  # fmt: skip

# texture, outline, first and second colour; the first kind has label 1
KINDS = tuple(tuple(kind.split()) for kind in (
    "striped disc red white", "shaded cross orange red", "checked star blue white", "dotted heart white pink",
    "ringed disc blue yellow", "striped arch purple pink", "speckled arch blue white",
    "wedged ring red white", "shaded ring teal green", "dotted bar white teal", "ringed leaf blue teal",
    "striped bar yellow black", "shaded star yellow orange", "speckled leaf green black",
    "checked square black white", "striped triangle orange white", "speckled triangle brown orange",
    "dotted square black white", "checked cross green white", "wedged heart purple yellow",
))  # fmt: skip
CLASSES: tuple[str, ...] = ("background", *(f"{texture} {outline}" for texture, outline, _, _ in KINDS))


class Item(NamedTuple):
    """Where a thing lies: its centre and radius in pixels, its turn clockwise in radians; its label."""

    column: float
    row: float
    radius: float
    turn: float
    label: int = 0


def _arrange(rng: Generator, labels: list[int], height: int, width: int) -> list[Item]:
    """Lays out objects of these labels, each at the emptiest of a few random spots; they may overlap."""
    items: list[Item] = []
    for label in labels:
        size = rng.uniform(0.44, 0.61 - 0.03 * len(labels)) * OUTLINES[KINDS[label - 1][1]][0]
        spots = [(width * rng.uniform(0.14, 0.86), height * rng.uniform(0.16, 0.84)) for _ in range(5)]
        gaps = [min((math.dist(spot, it[:2]) - it.radius for it in items), default=0.0) for spot in spots]
        turn, radius = rng.uniform(-0.6, 0.6), 0.5 * size * min(height, width)
        items.append(Item(*spots[gaps.index(max(gaps))], radius, turn, label))
    return items


def _frame(item: Item, margin: float, height: int, width: int) -> tuple[slice, slice, Array, Array]:
    """The rows and columns within `margin` of an item, and there u and v in its frame, in radii."""
    reach = item.radius + margin
    rows = slice(max(0, math.floor(item.row - reach)), min(height, math.ceil(item.row + reach)))
    columns = slice(max(0, math.floor(item.column - reach)), min(width, math.ceil(item.column + reach)))
    down = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + (0.5 - item.row)
    right = np.arange(columns.start, columns.stop, dtype=np.float32) + (0.5 - item.column)
    cosine, sine = math.cos(item.turn) / item.radius, math.sin(item.turn) / item.radius
    return rows, columns, cosine * right + sine * down, cosine * down - sine * right


def _colour(rng: Generator, hue: float, saturation: float, value: float) -> Array:
    """A colour near the given one as red, green and blue, 0 to 1, [3, 1, 1]."""
    turn, fade, dim = rng.uniform((-0.025, 0.75, 0.75), (0.025, 1.1, 1.1))
    colour = colorsys.hsv_to_rgb((hue + turn) % 1.0, min(saturation * fade, 1.0), min(value * dim, 1.0))
    return np.array(colour, np.float32)[:, None, None]


def _backdrop(rng: Generator, height: int, width: int) -> Array:
    """A background of no class, [3, height, width]: a ground and often a sky, each a cloud of two colours."""
    cloud = _field(rng, (height, width), min(height, width) / 2.5)
    grain = rng.uniform(0.1, 0.5) * (_field(rng, (height, width), rng.uniform(2.0, 5.0)) - cloud)
    colours = [_colour(rng, rng.random(), rng.uniform(0.05, 0.6), rng.uniform(0.3, 1.0)) for _ in range(4)]
    canvas = colours[0] + (colours[1] - colours[0]) * (cloud + grain)
    if rng.random() < 0.6:
        horizon = Item(0.5 * width, rng.uniform(0.25, 0.7) * height, 1.0, rng.uniform(-0.3, 0.3))
        depth = _frame(horizon, float(width + height), height, width)[3]
        share = _unit((6.0 * cloud - depth) / rng.uniform(1.0, 8.0))
        canvas += share * (colours[2] + (colours[3] - colours[2]) * cloud - canvas)
    return canvas


def _litter(canvas: Array, rng: Generator) -> None:
    """Draws pebbles and sticks of one plain colour each, thinner than any object: background too."""
    height, width = canvas.shape[1:]
    side = min(height, width)
    for _ in range(rng.integers(3, 9)):
        thick = side * rng.uniform(0.012, 0.05)
        length = (thick * rng.uniform(0.0, 2.5), side * rng.uniform(0.15, 0.4))[rng.integers(2)]
        item = Item(width * rng.random(), height * rng.random(), thick + length, rng.uniform(0.0, math.pi))
        rows, columns, u, v = _frame(item, 2.0, height, width)
        distance = item.radius * _box(u, v, length / item.radius, 0.0) - thick
        colour = _colour(rng, rng.random(), rng.uniform(0.0, 0.9), rng.uniform(0.15, 1.0))
        below = canvas[:, rows, columns]
        below += _unit(0.5 - distance) * (colour * (0.85 - 0.1 * distance / thick) - below)


def _paint(canvas: Array, mask: Pixels, item: Item, light: float, rng: Generator) -> None:
    """Draws one object over what is there: its shadow, its body lit from the angle `light`, and its label."""
    texture, outline, *colours = KINDS[item.label - 1]
    rows, columns, u, v = _frame(item, 10.0, *mask.shape)
    distance = item.radius * OUTLINES[outline][1](u, v)
    periods = min(1.0 / rng.uniform(0.42, 0.6), item.radius / 6.0)  # in a radius; none below 6 pixels
    first, second = (_colour(rng, *COLOURS[colour]) for colour in colours)
    lit = math.cos(light - item.turn) * u + math.sin(light - item.turn) * v
    body = first + (second - first) * TEXTURES[texture](u * periods, v * periods, rng)
    body *= 0.92 + 0.22 * lit - 0.15 * _unit(1.0 + distance / 5.0) * (1.0 - lit)
    below = canvas[:, rows, columns]
    below *= 1.0 - np.clip(0.9 - distance / 9.0, 0.0, 0.6) * _unit(0.45 - 0.4 * lit)
    below += _unit(0.5 - distance) * (body - below)
    label = mask[rows, columns]
    label[distance < 0.5 * BORDER] = VOID
    label[distance < -0.5 * BORDER] = item.label


def _photograph(canvas: Array, light: float, rng: Generator) -> Pixels:
    """Uneven light, a colour cast, a soft lens and a noisy sensor: the canvas as uint8 [height, width, 3]."""
    height, width = canvas.shape[1:]
    middle = Item(0.5 * width, 0.5 * height, 0.5 * width, light)
    canvas *= rng.uniform(0.85, 1.15) + rng.uniform(0.0, 0.2) * _frame(middle, float(height), height, width)[2]
    canvas *= rng.uniform(0.92, 1.08, (3, 1, 1)).astype(np.float32)
    soft = rng.uniform(0.05, 0.25)
    for lines in (canvas, canvas.swapaxes(1, 2)):
        lines[:, 1:-1] += soft * (lines[:, :-2] - 2.0 * lines[:, 1:-1] + lines[:, 2:])
    canvas += rng.uniform(0.008, 0.03) * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.ascontiguousarray((255.0 * _unit(canvas) + 0.5).astype(np.uint8).transpose(1, 2, 0))


class Shapes:
    """A split of the drawn set: an indexable source of images and masks, which pickles in a few bytes.

    Attributes:
        classes: The 21 names, "background" first.
        void: The label of pixels which no score counts, 255: a band 5 pixels wide along every outline.
    """

    classes: tuple[str, ...] = CLASSES
    void: int = VOID

    def __init__(self, split: str, count: int, height: int, width: int, seed: int) -> None:
        """Notes what to draw; nothing is drawn yet.

        Args:
            split: "train" or "val", two streams with no image in common.
            count: Number of images, at least 1.
            height: Of every image in pixels, at least 32.
            width: Of every image in pixels, at least 32.
            seed: At least 0; another seed gives other images of the same classes.

        Raises:
            ValueError: The split is neither, or a number is below its least value.
        """
        if split not in SPLITS:
            raise ValueError(f"the split of data=shapes must be {' or '.join(SPLITS)}, not {split!r}")
        self.split, self.count, self.height, self.width, self.seed = split, count, height, width, seed
        lowest = {f"{split}_count": 1, "height": 32, "width": 32, "seed": 0}
        for (key, least), value in zip(lowest.items(), (count, height, width, seed), strict=True):
            if value < least:
                raise ValueError(f"data.{key} must be >= {least}, not {value}")

    def __len__(self) -> int:
        """The number of images."""
        return self.count

    def read(self, index: int) -> tuple[Pixels, Pixels]:
        """Draws an image and its mask. Images 0 to 19, 20 to 39 and so on have each class uncovered once.

        Args:
            index: Which image, 0 to count - 1.

        Returns:
            The image, uint8 [height, width, 3] RGB, and the mask, uint8 [height, width]: 0 to 20, void 255.

        Raises:
            IndexError: There is no such image.
        """
        mask = np.zeros(self.size(index), np.uint8)
        shuffle = np.random.default_rng([self.seed, index // 20, SPLITS[self.split], 1])
        rng = np.random.default_rng([self.seed, index, SPLITS[self.split]])
        topmost, others = shuffle.permutation(20)[index % 20], rng.permutation(20)[: rng.integers(0, 5)]
        labels = [int(kind) + 1 for kind in (*others[others != topmost], topmost)]
        items = _arrange(rng, labels, self.height, self.width)
        canvas = _backdrop(rng, self.height, self.width)
        _litter(canvas, rng)
        light = rng.uniform(-math.pi, 0.0)
        for item in items:
            _paint(canvas, mask, item, light, rng)
        return _photograph(canvas, light, rng), mask

    def name(self, index: int) -> str:
        """The name of an image, such as shapes_train_000012; IndexError if there is none."""
        self.size(index)  # checks it
        return f"shapes_{self.split}_{index:06d}"

    def size(self, index: int) -> tuple[int, int]:
        """The (height, width) of an image in pixels; IndexError if there is none."""
        if not 0 <= index < self.count:
            raise IndexError(f"shapes_{self.split} has images 0 to {self.count - 1}, not {index}")
        return self.height, self.width

    def fingerprint(self) -> str:
        """16 hex digits which change with the drawing code, the split, the count, the size and the seed."""
        parts = ("shapes", DRAWING, self.split, self.count, self.height, self.width, self.seed)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def open_split(split: str, count: int, height: int, width: int, seed: int) -> Shapes:
    """Opens a split of the drawn set; the arguments and the errors are those of `Shapes`."""
    return Shapes(split, count, height, width, seed)
