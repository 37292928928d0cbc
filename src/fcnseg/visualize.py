"""Pictures: VOC's palette, overlays, and grids of predictions beside the truth."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fcnseg.data.dataset import Draw, Labels, Pixels, Sample, SegmentationDataset, Source
from fcnseg.disk import write_durably
from fcnseg.fcn import FCN
from fcnseg.shapes import VOID

MARGIN = 8
LINE = 22
VOID_COLOUR = (224, 224, 192)
"""VOC's colour of label 255."""


def palette(count: int = 256) -> Pixels:
    """Returns VOC's colours [count, 3]: bit 3i + j of a label is bit 7 - i of its colour j."""
    labels = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((labels >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def colourise(mask: Labels, void: int | None = VOID) -> Pixels:
    """Turns labels [h, w] into VOC's colours [h, w, 3]; None where there is no void, as in predictions."""
    empty = mask == void
    classes = np.where(empty, 0, mask)
    colours = palette(int(classes.max(initial=0)) + 1)[classes]
    colours[empty] = VOID_COLOUR
    return np.asarray(colours)


def as_rgb(image: Pixels) -> Pixels:
    """Makes a picture [h, w, 3] of an image of any number of channels: its first three, or its first alone as grey."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)


def overlay(image: Pixels, mask: Labels, opacity: float = 0.6, void: int | None = VOID) -> Pixels:
    """Lays the colours of a mask over its image [h, w, 3], background left clear."""
    mixed = image * (1 - opacity) + colourise(mask, void) * opacity
    return np.where((mask == 0)[:, :, None], image, mixed).astype(np.uint8)


def predict_masks(net: FCN, samples: Sequence[Pixels]) -> list[Labels]:
    """Predicts labels [h, w] for images [h, w, c], one by one, on the net's device."""
    dtype = torch.uint8 if net.num_classes <= 256 else torch.int32
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    with torch.inference_mode():
        masks = [
            net(torch.from_numpy(image).permute(2, 0, 1)[None].to(device)).argmax(1)[0].to(dtype).cpu().numpy()
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
        name = quote(one.name, safe="")
        image = Image.fromarray(as_rgb(one.image))
        for path, picture, form in (
            (folder / f"{name}.png", as_palette(one.prediction, None), "PNG"),
            (folder / "truth" / f"{name}.png", as_palette(one.truth, void), "PNG"),
            (folder / "images" / f"{name}.jpg", image, "JPEG"),
        ):
            write_durably(path, partial(picture.save, format=form))


def as_palette(mask: Labels, void: int | None) -> Image.Image:
    """Returns labels as VOC's files hold them, one byte a pixel; as colours alone where labels are larger."""
    if mask.dtype != np.uint8 or void not in (None, VOID):
        return Image.fromarray(colourise(mask, void))
    picture = Image.fromarray(mask)
    picture.putpalette(palette().tobytes())
    return picture


def prediction_grid(shown: Sequence[Shown], source: Source, side: int = 256) -> Image.Image:
    """Draws images, truth and predictions in rows, with a legend of the classes that occur.

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
        ]
        for one in shown
    ]
    labels = {int(label) for one in shown for mask in (one.truth, one.prediction) for label in np.unique(mask)}
    names = {label: name for label, name in enumerate(source.classes) if label in labels}
    return grid(rows, ("image", "truth", "prediction", "overlay"), names, side)


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
) -> Image.Image:
    """Arranges pictures in rows under column titles, with a legend below.

    Args:
        rows: pictures [h, w, 3], as many a row as there are titles.
        titles: of the columns.
        names: {label: class} for the legend.
        side: longer side of each picture, pixels.
        captions: a line below each picture, in rows likewise.
    """
    pictures = [[_fit(pixels, side) for pixels in row] for row in rows]
    width = max(picture.width for row in pictures for picture in row)
    heights = [max(picture.height for picture in row) + (LINE if captions else 0) for row in pictures]
    per_line = max(1, len(titles) * (width + MARGIN) // 150)
    legend_lines = -(-(len(names) + 1) // per_line)
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
    _legend(pen, top, names, per_line)
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


def _legend(pen: ImageDraw.ImageDraw, top: int, names: dict[int, str], per_line: int) -> None:
    colours = palette(max(names, default=0) + 1)
    entries = [(name, tuple(int(part) for part in colours[label])) for label, name in names.items()]
    for place, (name, colour) in enumerate([*entries, ("void", VOID_COLOUR)]):
        left, y = MARGIN + place % per_line * 150, top + place // per_line * LINE
        pen.rectangle((left, y, left + 14, y + 14), fill=colour, outline="black")
        pen.text((left + 20, y), name, "black", _font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)
