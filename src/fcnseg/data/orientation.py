"""EXIF's orientation. Pixels are read as they are stored, images and masks alike; no turn for viewers is ever made."""

from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image

from fcnseg.data.faults import Fault

UPRIGHT = 1
LYING = (5, 6, 7, 8)
"""Orientations that exchange height and width."""


def orientation(path: Path) -> int:
    """Returns how EXIF asks viewers to turn or mirror an image, 1..8; 1, as it is, where nothing sound is said."""
    with suppress(Exception), Image.open(path) as file:  # EXIF can be damaged in any way, and asks for nothing then
        said = file.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
        return said if said in range(1, 9) else UPRIGHT
    return UPRIGHT


def disagreement(image: Path, mask: Path, sizes: tuple[tuple[int, int], tuple[int, int]]) -> Fault | None:
    """Says where the turn that EXIF asks for makes it wrong, or doubtful, to read an image and its mask as stored.

    Args:
        image: its file.
        mask: the file of its labels.
        sizes: height and width of both, as stored.
    """
    turns = orientation(image), orientation(mask)
    if turns[0] == turns[1]:
        return None
    as_stored = sizes[0] == sizes[1]
    turned = [size[::-1] if turn in LYING else size for size, turn in zip(sizes, turns, strict=True)]
    as_viewed = turned[0] == turned[1]
    differ = f"EXIF has viewers turn {image} by orientation {turns[0]} and its mask {mask} by {turns[1]} (1 is upright)"
    if as_stored and not as_viewed:
        return Fault("exif", image, f"{differ}; they agree as stored, which is how they are read", harmless=True)
    if as_viewed and not as_stored:
        drawn = "they agree as viewed, but pixels are read as stored: save both upright, without the tag"
        return Fault("exif", image, f"{differ}; {drawn}")
    doubt = "pixels are read as stored, and nothing tells whether they agree then: save both upright, without the tag"
    return Fault("exif", image, f"{differ}; {doubt}") if as_stored else None
