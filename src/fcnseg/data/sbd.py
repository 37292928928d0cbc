"""SBD, the Semantic Boundaries Dataset, on disk: img, cls/*.mat, train.txt and val.txt of benchmark_RELEASE/dataset."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.io import loadmat

from fcnseg.data.dataset import Pair, Pixels
from fcnseg.data.faults import Fault, Report, refuse
from fcnseg.data.splits import Lists, read_list

LISTS = {"sbd_train": ("train",), "sbd_val": ("val",), "sbd_all": ("train", "val")}
"""What a split calls SBD's lists, and the files that hold them."""

LARGEST_LABEL = 20
"""SBD labels VOC's classes; it has no void."""

WORTH_A_BAR = 200
"""Masks whose conversion takes about a second."""


def sbd_lists(root: str | None, cache: str | None, report: Report = refuse) -> Lists:
    """Returns SBD's lists for splits; the folder is looked for when one of them is named.

    Args:
        root: the folder benchmark_RELEASE, or dataset in it.
        cache: folder that takes cls_png, the masks as PNG; None puts it beside cls.
        report: takes the faults of the lists.
    """
    return {name: partial(_pairs, root, cache, name, report) for name in LISTS}


def _pairs(root: str | None, cache: str | None, name: str, report: Report) -> list[Pair]:
    if root is None:
        raise ValueError(f"the split names {name}, a list of SBD: set data.sbd_root to the folder benchmark_RELEASE")
    try:
        home = find_sbd(Path(root))
    except FileNotFoundError as error:
        report(Fault("missing", Path(root), str(error)))
        return []
    made = (Path(cache) if cache else home) / "cls_png"
    ids = [each for file in LISTS[name] for each in read_list(home / f"{file}.txt", report)]
    return [
        Pair(each, home / "img" / f"{each}.jpg", made / f"{each}.png", home / "cls" / f"{each}.mat") for each in ids
    ]


def find_sbd(root: Path) -> Path:
    """Returns the folder that holds img, cls and the lists.

    Raises:
        FileNotFoundError: says what was looked for.
    """
    for home in (root / "dataset", root / "benchmark_RELEASE" / "dataset", root):
        if (home / "cls").is_dir():
            return home
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) if root.is_dir() else ""
    held = f"holds no dataset/cls (it holds {there or 'nothing'})" if root.is_dir() else "is no folder"
    raise FileNotFoundError(f"data.sbd_root={root} {held}; give the folder benchmark_RELEASE of SBD")


def convert_masks(pairs: Iterable[Pair]) -> None:
    """Writes the masks that exist as .mat only, or as a PNG older than that, as 8-bit PNGs.

    All at once, not each at its first use: what is damaged is found before the first step, and the wait is seen for
    what it is. Any number of processes may do this at the same time. Threads, because they also hide a slow disk, and
    need no second import of everything.

    Raises:
        ValueError: names a damaged .mat, or the folder that cannot be written.
    """
    stale = [pair for pair in pairs if pair.origin is not None and not is_fresh(pair.mask, pair.origin)]
    if not stale:
        return
    folder = stale[0].mask.parent
    console, quiet = Console(stderr=True, soft_wrap=True, highlight=False), len(stale) < WORTH_A_BAR
    if not quiet:
        console.print(f"converting {len(stale):,} masks of SBD to PNG, once, into {folder}", markup=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as pool:
            done = pool.map(_convert, stale)
            list(track(done, "masks", len(stale), console=console, transient=True, disable=quiet))
    except OSError as error:
        raise ValueError(
            f"SBD's masks cannot be written as PNGs into {folder} ({error}): set data.cache to a folder that you can "
            "write, or make room there"
        ) from error


def is_fresh(mask: Path, origin: Path) -> bool:
    """Tells whether a mask was made from its .mat as that is now."""
    try:
        made = mask.stat()
        return made.st_size > 0 and made.st_mtime_ns >= origin.stat().st_mtime_ns
    except OSError:
        return False


def _convert(pair: Pair) -> None:
    assert pair.origin is not None
    if is_fresh(pair.mask, pair.origin):  # by now, made by another process
        return
    labels = read_mat(pair.origin)
    unfinished = pair.mask.with_name(f".{pair.name}.{uuid4().hex}.unfinished")
    try:
        # A mask is small at any level; the lowest is the quickest to write and to read.
        Image.fromarray(labels).save(unfinished, "PNG", compress_level=1)
        unfinished.replace(pair.mask)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def read_mat(path: Path) -> Pixels:
    """Reads the labels [h, w] of one of SBD's .mat files, GTcls.Segmentation.

    Raises:
        ValueError: names the file that is damaged or holds something else.
    """
    try:
        labels = np.asarray(loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0])
    except Exception as error:  # scipy's parser raises errors of any kind over a damaged file
        raise ValueError(
            f"{path} cannot be read as a mask of SBD ({type(error).__name__}: {error}): restore it, or take "
            f"{path.stem} out of the split"
        ) from error
    fits = labels.ndim == 2 and labels.size > 0 and labels.dtype.kind in "ui"
    if not fits or labels.min() < 0 or labels.max() > LARGEST_LABEL:
        largest = f" up to {labels.max()}" if fits else ""
        raise ValueError(
            f"GTcls.Segmentation in {path} must be rows of labels 0..{LARGEST_LABEL}, not {labels.dtype} of shape "
            f"{labels.shape}{largest}: restore it, or take {path.stem} out of the split"
        )
    return labels.astype(np.uint8)
