"""PASCAL VOC devkits on disk, 2007 to 2012: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

from pathlib import Path

from fcnseg.data.dataset import ImageFiles, Pair

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
"""VOC's classes in the order of their labels."""


def open_split(root: str, year: str, split: str) -> ImageFiles:
    """Opens a split of a devkit.

    Args:
        root: the VOCdevkit folder, or the VOC2012 folder in it.
        year: the devkit's year.
        split: a list in ImageSets/Segmentation: train, val or trainval.

    Raises:
        FileNotFoundError: the folder, the list or a file that it names is missing.
        ValueError: the list is empty or names an id twice.
    """
    home = find_devkit(Path(root), year)
    names = read_list(home / "ImageSets" / "Segmentation" / f"{split}.txt")
    pairs = [
        Pair(name, home / "JPEGImages" / f"{name}.jpg", home / "SegmentationClass" / f"{name}.png") for name in names
    ]
    check_files(pairs)
    return ImageFiles(pairs, CLASSES)


def find_devkit(root: Path, year: str) -> Path:
    """Returns the folder that holds ImageSets.

    Raises:
        FileNotFoundError: says what was looked for.
    """
    for home in (root / f"VOC{year}", root):
        if (home / "ImageSets" / "Segmentation").is_dir():
            return home
    if not root.is_dir():
        raise FileNotFoundError(f"data.root={root} is no folder; give the VOCdevkit folder that holds VOC{year}")
    there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"data.root={root} holds no VOC{year}/ImageSets/Segmentation (it holds {there}); give the VOCdevkit folder, "
        "and data.year if it is another year"
    )


def read_list(path: Path) -> list[str]:
    """Reads a list of ids, one a line.

    Raises:
        FileNotFoundError: no such list; names those that are there.
        ValueError: it is empty or names an id twice.
    """
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt"))) or "none"
        raise FileNotFoundError(f"there is no list {path}; the splits there are: {there}")
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not names:
        raise ValueError(f"the list {path} is empty: write ids into it, one a line, or choose another split")
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the list {path} names {', '.join(twice[:5])} more than once: remove the repeated lines")
    return names


def check_files(pairs: list[Pair]) -> None:
    """Checks that every image and mask exists, by one listing of each folder.

    Raises:
        FileNotFoundError: counts the missing files and names the first ones.
    """
    folders = {path.parent for pair in pairs for path in (pair.image, pair.mask)}
    there = {folder: {file.name for file in folder.iterdir()} if folder.is_dir() else set() for folder in folders}
    missing = [path for pair in pairs for path in (pair.image, pair.mask) if path.name not in there[path.parent]]
    if missing:
        shown = ", ".join(str(path) for path in missing[:3])
        raise FileNotFoundError(
            f"{len(missing)} files that the split names are missing, among them {shown}; restore them, or take their "
            "ids out of the list"
        )
