"""Caffe's published weights: where they lie, what they must hash to, and where they are kept.

Addresses and digests as the model zoo of BVLC, the authors of VGG and OpenCV's tests give them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch.hub import get_dir

from fcnseg.fetch import fetch
from fcnseg.weights.caffe import read_caffemodel

BERKELEY = "dl.caffe.berkeleyvision.org"
OXFORD = "www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"


class Released(NamedTuple):
    """One published file.

    Attributes:
        host: address of the folder that it lies in, without the scheme.
        sha1: digest; None where nobody has published one.
    """

    host: str
    sha1: str | None = None


CLASSIFIERS = {
    "bvlc_reference_caffenet": Released(BERKELEY, "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"),
    "bvlc_googlenet": Released(BERKELEY, "405fc5acd08a3bb12de8ee5e23a96bec22f08204"),
    "VGG_ILSVRC_16_layers": Released(OXFORD, "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24"),
    "VGG_ILSVRC_19_layers": Released(OXFORD, "239785e7862442717d831f682bb824055e51e9ba"),
}
"""The original ImageNet classifiers by name, without .caffemodel: what backbone.weights=imagenet stands for."""

PUBLISHED = {
    "fcn32s-heavy-pascal": Released(BERKELEY, "05eb922d7829c39448f57e5ab9d8cd75d6c0be6d"),
    "fcn16s-heavy-pascal": Released(BERKELEY),
    "fcn8s-heavy-pascal": Released(BERKELEY, "c449ea74dd7d83751d1357d6a8c323fcf4038962"),
    "fcn8s-atonce-pascal": Released(BERKELEY),
    "fcn-alexnet-pascal": Released(BERKELEY),
}
"""The authors' trained nets by name, for init_from."""

RELEASED = CLASSIFIERS | PUBLISHED
"""All of them."""


def released_file(name: str) -> Path:
    """Returns a published file, fetched once into torch's cache of checkpoints (TORCH_HOME says where that is).

    Args:
        name: a key of RELEASED.

    Raises:
        ValueError: no such file is known.
        FileNotFoundError: it is not here and cannot be fetched; says which file to put where.
    """
    if name not in RELEASED:
        raise ValueError(f"there are no published weights {name!r}; there are {', '.join(RELEASED)}")
    host, sha1 = RELEASED[name]
    target = Path(get_dir()) / "checkpoints" / f"{name}.caffemodel"
    addresses = [f"{scheme}://{host}/{target.name}" for scheme in ("https", "http")]
    fresh = not target.is_file()
    try:
        with _bar(target.name) as shown:
            fetch(addresses, target, size=None, checksum=sha1 and f"sha1:{sha1}", progress=shown)
        if fresh and sha1 is None:
            _check(target)
        return target
    except OSError as error:
        raise FileNotFoundError(
            f"the weights {target.name} are not here and could not be fetched ({error}). Put the file at {target}, or "
            "name one that you have (backbone.weights=PATH or init_from=PATH)"
        ) from error


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows a download of hundreds of megabytes; nothing while nothing comes."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


def _check(path: Path) -> None:
    """Reads a file without a published digest once; what is no set of weights is not kept."""
    try:
        read_caffemodel(path)
    except ValueError as error:
        path.unlink()
        raise FileNotFoundError(f"what came from there is no .caffemodel: {error}") from error
