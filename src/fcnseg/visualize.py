"""Pictures: VOC's palette, overlays, and grids of predictions beside the truth."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fcnseg.colours import (
    ERROR_COLOURS,
    VOID_COLOUR,
    Colour,
    as_palette,
    as_rgb,
    colourise,
    error_map,
    overlay,
    palette,
)
from fcnseg.data.dataset import Draw, Labels, Pixels, Sample, SegmentationDataset, Source
from fcnseg.disk import write_durably
from fcnseg.fcn import FCN, best_classes

LONGEST_NAME = 200
"""Characters of a file's name without its ending; what is still unfinished has 17 more, and 255 bytes are the most."""

__all__ = [
    "ERROR_COLOURS",
    "VOID_COLOUR",
    "Shown",
    "as_palette",
    "as_rgb",
    "colourise",
    "error_map",
    "grid",
    "overlay",
    "palette",
    "predict_masks",
    "predicted",
    "prediction_grid",
    "sample_grid",
    "save_shown",
    "with_legend",
]

MARGIN = 8
LINE = 22


def predict_masks(net: FCN, samples: Sequence[Pixels]) -> list[Labels]:
    """Predicts labels [h, w] for images [h, w, c], one by one, on the net's device."""
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    with torch.inference_mode():
        masks = [
            best_classes(net(torch.from_numpy(image).permute(2, 0, 1)[None].to(device)))[0].cpu().numpy()
            for image in samples
        ]
    net.train(training)
    return masks


class Shown(NamedTuple):
    """An image beside its truth and what a net predicts.

    Attributes:
        name: the image's id.
        image: [h, w, c].
        truth: [h, w], void included.
        prediction: [h, w].
    """

    name: str
    image: Pixels
    truth: Labels
    prediction: Labels


def predicted(net: FCN, dataset: SegmentationDataset, count: int = 6) -> list[Shown]:
    """Predicts ``count`` images of a set, evenly spread and always the same ones."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    samples = [dataset[Draw(int(index))] for index in chosen]
    predictions = predict_masks(net, [sample.image for sample in samples])
    return [
        Shown(sample.name, sample.image, sample.mask, prediction)
        for sample, prediction in zip(samples, predictions, strict=True)
    ]


def save_shown(shown: Sequence[Shown], folder: Path, void: int) -> None:
    """Writes each prediction to FOLDER/ID.png, with the truth and the image in its folders truth and images.

    Reports lay those of several runs side by side. Characters of an id that no file name can hold are written %XX.

    Args:
        shown: what to write.
        folder: made if it is not there.
        void: label of pixels that belong to no class.

    Raises:
        ValueError: the disk is full, or refuses otherwise.
    """
    for one in shown:
        name = file_name(one.name)
        image = Image.fromarray(as_rgb(one.image))
        for path, picture, form in (
            (folder / f"{name}.png", as_palette(one.prediction, None), "PNG"),
            (folder / "truth" / f"{name}.png", as_palette(one.truth, void), "PNG"),
            (folder / "images" / f"{name}.jpg", image, "JPEG"),
        ):
            write_durably(path, partial(picture.save, format=form))


def file_name(name: str) -> str:
    """Returns an id as a file name: characters that none can hold are written %XX, and very long names end in a hash.

    Args:
        name: an image's id.
    """
    quoted = quote(name, safe="")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    head = ""
    for letter in name:
        if len(longer := head + quote(letter, safe="")) > LONGEST_NAME - 17:
            break
        head = longer
    return f"{head}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def prediction_grid(shown: Sequence[Shown], source: Source, side: int = 256) -> Image.Image:
    """Draws images, truth, predictions and their errors in rows, with a legend of the classes that occur.

    Args:
        shown: one a row.
        source: where they are from.
        side: longer side of each picture, pixels.
    """
    rows = [
        [
            as_rgb(one.image),
            colourise(one.truth, source.void),
            colourise(one.prediction, None),
            overlay(as_rgb(one.image), one.prediction, void=None),
            error_map(one.prediction, one.truth, source.void),
        ]
        for one in shown
    ]
    labels = {int(label) for one in shown for mask in (one.truth, one.prediction) for label in np.unique(mask)}
    names = {label: name for label, name in enumerate(source.classes) if label in labels}
    return grid(rows, ("image", "truth", "prediction", "overlay", "errors"), names, side, others=ERROR_COLOURS)


def sample_grid(samples: Sequence[Sample], source: Source, side: int = 256) -> Image.Image:
    """Draws images with their masks, some side by side, under their ids, with a legend of the classes that occur.

    Args:
        samples: images as they go into batches.
        source: where they are from.
        side: longer side of each picture, pixels.
    """
    per_row = max(1, round(math.sqrt(len(samples) / 2)))
    lines = [samples[start : start + per_row] for start in range(0, len(samples), per_row)]
    rows = [
        [part for each in line for part in (as_rgb(each.image), colourise(each.mask, source.void))] for line in lines
    ]
    captions = [[part for each in line for part in (each.name, _dimensions(each))] for line in lines]
    shown = {int(label) for sample in samples for label in np.unique(sample.mask)}
    names = {label: name for label, name in enumerate(source.classes) if label in shown}
    return grid(rows, ("image", "mask") * min(per_row, len(samples)), names, side, captions)


def _dimensions(sample: Sample) -> str:
    return f"{sample.mask.shape[1]}x{sample.mask.shape[0]}"


def grid(
    rows: Sequence[Sequence[Pixels]],
    titles: Sequence[str],
    names: dict[int, str],
    side: int,
    captions: Sequence[Sequence[str]] = (),
    others: Mapping[str, Colour] | None = None,
) -> Image.Image:
    """Arranges pictures in rows under column titles, with a legend below.

    Args:
        rows: pictures [h, w, 3], as many a row as there are titles.
        titles: of the columns.
        names: {label: class} for the legend.
        side: longer side of each picture, pixels.
        captions: a line below each picture, in rows likewise.
        others: {meaning: colour}, further entries of the legend.
    """
    pictures = [[_fit(pixels, side) for pixels in row] for row in rows]
    width = max(picture.width for row in pictures for picture in row)
    heights = [max(picture.height for picture in row) + (LINE if captions else 0) for row in pictures]
    per_line, entries = max(1, len(titles) * (width + MARGIN) // 150), _entries(names) | {"void": VOID_COLOUR}
    entries |= others or {}
    legend_lines = -(-len(entries) // per_line)
    height = LINE + sum(heights) + MARGIN * (len(rows) + 1) + LINE * legend_lines + MARGIN
    sheet = Image.new("RGB", (len(titles) * (width + MARGIN) + MARGIN, height), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((MARGIN + column * (width + MARGIN), 4), title, "black", _font())
    top = LINE + MARGIN
    for number, (row, row_height) in enumerate(zip(pictures, heights, strict=True)):
        for column, picture in enumerate(row):
            left = MARGIN + column * (width + MARGIN)
            sheet.paste(picture, (left, top))
            if captions:
                pen.text((left, top + picture.height + 2), _fitting(captions[number][column], width), "black", _font())
        top += row_height + MARGIN
    _legend(pen, (MARGIN, top), entries, per_line)
    return sheet


def with_legend(picture: Pixels, names: Mapping[int, str]) -> Image.Image:
    """Returns a picture [h, w, 3] above a legend, whose letters grow with it; without entries, the picture alone.

    Args:
        picture: for instance an overlay.
        names: {label: class}, the entries.
    """
    if not names:
        return Image.fromarray(picture)
    height, width = picture.shape[:2]
    letter = min(max(round(math.hypot(height, width) / 45), 13), 120)
    line = round(LINE * letter / 13)
    entries = _entries(names)
    font = _font(letter)
    column = line + max(round(font.getlength(name)) for name in entries) + line // 2
    per_line = max(1, width // column)
    rows = -(-len(entries) // per_line)
    sheet = Image.new("RGB", (max(width, column), height + rows * line + line // 3), "white")
    sheet.paste(Image.fromarray(picture), (0, 0))
    _legend(ImageDraw.Draw(sheet), (line // 3, height + line // 3), entries, per_line, letter, column)
    return sheet


def _fit(pixels: Pixels, side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR)


def _fitting(text: str, width: int) -> str:
    """Shortens a line from its front, where ids are the most alike."""
    kept = next((start for start in range(len(text)) if _font().getlength("..." + text[start:]) <= width), len(text))
    return text if _font().getlength(text) <= width else "..." + text[kept:]


def _entries(names: Mapping[int, str]) -> dict[str, Colour]:
    colours = palette(max(names, default=0) + 1).tolist()
    return {name: (colours[label][0], colours[label][1], colours[label][2]) for label, name in names.items()}


def _legend(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    entries: Mapping[str, Colour],
    per_line: int,
    letter: int = 13,
    column: int = 150,
) -> None:
    """Draws squares of colour with names, in lines from a corner (left, top) on; sizes in pixels."""
    line, side = round(LINE * letter / 13), round(14 * letter / 13)
    for place, (name, colour) in enumerate(entries.items()):
        left, y = corner[0] + place % per_line * column, corner[1] + place // per_line * line
        pen.rectangle((left, y, left + side, y + side), fill=colour, outline="black")
        pen.text((left + round(1.4 * side), y), name, "black", _font(letter))


def _font(size: int = 13) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
