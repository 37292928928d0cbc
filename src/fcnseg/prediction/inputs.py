"""What is predicted: a file, a folder, a pattern or a list, each with the name that its outputs bear."""

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".avif", ".npy"}
"""Endings, in small letters, of the images that are taken from a folder."""

VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
"""Likewise of videos."""


class Item(NamedTuple):
    """One input.

    Attributes:
        name: of its outputs, without an ending; / stands between folders.
        path: of the file.
    """

    name: str
    path: Path

    @property
    def is_video(self) -> bool:
        """Whether it is read frame by frame."""
        return self.path.suffix.lower() in VIDEOS


class Inputs(NamedTuple):
    """All inputs, in the order of their names.

    Attributes:
        items: what is predicted.
        passed_over: files of a folder that are neither image nor video.
    """

    items: tuple[Item, ...]
    passed_over: int = 0


def find_inputs(said: str, lines: Iterable[str], apart: Path) -> Inputs:
    """Finds what ``input`` names.

    Names are relative to the folder, to the part of the pattern without wildcards, or, in a list, to the innermost
    folder that holds all of its files. Links to folders are not followed within a folder.

    Args:
        said: a file, a folder, a pattern such as photos/*.jpg (** for any depth), or - for a list.
        lines: the list, one path a line.
        apart: a folder whose files are left out: that of the outputs.

    Raises:
        FileNotFoundError: there is no such file, or nothing fits the pattern.
        ValueError: nothing is in there, a file that is named lies in that folder, or two inputs would become one
            output.
    """
    path = Path(said)
    if said == "-":
        found = every = [(name, file) for name, file in _listed(lines) if not _is_within(file, apart)]
    elif path.is_file():
        if _is_within(path, apart):
            raise ValueError(f"input={said} lies in the folder of the outputs, {apart}: choose another output=")
        found = every = [(path.name, path)]
    else:
        files, base = (_walked(path, apart), path) if path.is_dir() else _matching(said, apart)
        every = [(str(file.relative_to(base)), file) for file in sorted(files)]
        found = [(name, file) for name, file in every if file.suffix.lower() in IMAGES | VIDEOS]
    if not found:
        where = "the list on standard input is empty" if said == "-" else f"input={said} holds no image and no video"
        raise ValueError(f"{where}: name a file, a folder, a pattern, or - for a list on standard input")
    items = tuple(Item(_name(name), file) for name, file in found)
    _check_outputs(items)
    return Inputs(items, len(every) - len(found))


def _walked(folder: Path, apart: Path) -> Iterator[Path]:
    left_out = apart.resolve()
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".") and Path(place, each).resolve() != left_out]
        yield from (Path(place, file) for file in files if not file.startswith("."))


def _is_within(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents


def _matching(pattern: str, apart: Path) -> tuple[list[Path], Path]:
    """Returns the files that fit, and the folder before the first wildcard."""
    if not glob.has_magic(pattern):
        raise FileNotFoundError(f"input={pattern} is no file and no folder")
    fitting = [Path(each) for each in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - takes absolute patterns
    paths = [path for path in fitting if not path.is_dir() and not _is_within(path, apart)]
    if not paths:
        raise FileNotFoundError(f"no file fits input={pattern}")
    parts = Path(pattern).parts
    return paths, Path(*parts[: next(place for place, part in enumerate(parts) if glob.has_magic(part))])


def _listed(lines: Iterable[str]) -> list[tuple[str, Path]]:
    paths = [Path(line.rstrip("\r\n")) for line in lines if line.strip()]
    if not paths:
        return []
    folders = [os.path.abspath(path.parent) for path in paths]  # noqa: PTH100 - links are left as they are
    common = os.path.commonpath(folders)
    return [
        (os.path.relpath(os.path.join(folder, path.name), common), path)  # noqa: PTH118
        for folder, path in zip(folders, paths, strict=True)
    ]


def _name(relative: str) -> str:
    """Takes the ending off, but for a video's, whose frames get a folder of that name."""
    pure = PurePath(relative)
    return pure.as_posix() if pure.suffix.lower() in VIDEOS else pure.with_suffix("").as_posix()


def _check_outputs(items: Sequence[Item]) -> None:
    """Refuses inputs that would become one output.

    Raises:
        ValueError: names two of them.
    """
    claims = defaultdict(list)
    for item in items:
        claims[item.name].append(item.path)
    for name, paths in claims.items():
        if len(paths) > 1:
            raise ValueError(
                f"{paths[0]} and {paths[1]} would both become {name}: rename one, or predict them into two folders"
            )
    videos = {item.name for item in items if item.is_video}
    for item in items:
        if clash := videos & {str(parent) for parent in PurePath(item.name).parents}:
            raise ValueError(
                f"{item.path} lies in a folder of the name that the frames of {clash.pop()} get: rename one of them"
            )


def quoted(word: str, keys: Sequence[str] = ("input", "output", "checkpoint", "voc.root")) -> str:
    """Returns an argument of the command line as Hydra must get it: a path may hold any character.

    Args:
        word: KEY=VALUE; of other keys, or with quotes already, it is left as it is.
        keys: those whose values are paths.
    """
    key, equals, value = word.partition("=")
    if not equals or key not in keys or not value or value[0] in "'\"":
        return word
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    ending = len(escaped) - len(escaped.rstrip("\\"))
    return f"{key}='{escaped}{escaped[-ending:] if ending else ''}'"
