"""The qualitative grid: fixed validation images, their truth, and what each row predicts, as thumbnails in the page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from fcnseg.reports.summary import Summary

SIDE = 200
"""Longer side of a thumbnail, pixels."""

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises of a damaged file."""


@dataclass(frozen=True)
class Picture:
    """One cell of the grid.

    Attributes:
        column: image, truth, or a row of the table.
        uri: the picture itself; None where there is none.
    """

    column: str
    uri: str | None


def examples(summary: Summary, photographs: bool) -> dict[str, list[Picture]]:
    """Returns {image: its cells}, for the images that the finished runs saved.

    Args:
        summary: whose runs.
        photographs: whether the images themselves may be shown.
    """
    folders = {row: [job.folder / "predictions" for job in summary.done(row)] for row in summary.rows}
    every = [folder for saved in folders.values() for folder in saved]
    names = sorted({path.stem for folder in every for path in (folder / "truth").glob("*.png")})
    return {unquote(name): _cells(name, every, folders, photographs) for name in names}


def _cells(name: str, every: Sequence[Path], folders: dict[str, list[Path]], photographs: bool) -> list[Picture]:
    known = [Picture("image", _first([folder / "images" / f"{name}.jpg" for folder in every]))] if photographs else []
    known.append(Picture("truth", _first([folder / "truth" / f"{name}.png" for folder in every])))
    return known + [
        Picture(row, _first([folder / f"{name}.png" for folder in saved])) for row, saved in folders.items()
    ]


def _first(paths: Sequence[Path]) -> str | None:
    """Returns the first picture that can be read: the first seed's."""
    for path in paths:
        try:
            return thumbnail(path)
        except UNREADABLE:
            continue
    return None


def thumbnail(path: Path, side: int = SIDE) -> str:
    """Returns a smaller copy of a picture as a data URI: masks keep their palette, photographs become JPEGs.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: of a file that Pillow cannot read.
    """
    with Image.open(path) as file:
        file.load()
        factor = min(1.0, side / max(file.size))
        size = (max(1, round(file.width * factor)), max(1, round(file.height * factor)))
        is_mask = path.suffix == ".png"
        small = file.resize(size, Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS)
    content, form = io.BytesIO(), "PNG" if is_mask else "JPEG"
    small.save(content, form, **({"optimize": True} if is_mask else {"quality": 80}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def colours(summary: Summary, count: int) -> list[tuple[int, int, int]]:
    """Returns the colours of the first labels, from the palette that the masks carry; none where they carry none."""
    for row in summary.rows:
        for job in summary.done(row):
            for path in sorted((job.folder / "predictions" / "truth").glob("*.png")):
                try:
                    with Image.open(path) as file:
                        flat = file.getpalette() or []
                except UNREADABLE:
                    continue
                if len(flat) >= 3 * count:
                    return [(flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]) for i in range(count)]
    return []
