"""python -m fcnseg.check: reads a whole data set once, and says what is wrong with it and what is in it."""

import sys
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from fcnseg.config import CONF_DIR, CheckConfig, DataConfig, register, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.table import Table

    from fcnseg.data.faults import Fault
    from fcnseg.data.inspect import Inspection, Statistics

register()

MOST_REMARKS = 10
"""Harmless remarks of one kind that are printed; check.json holds all of them."""

MOST_MISSING = 20
"""Missing files of one folder that are printed one by one; check.json holds all of them."""


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="check")
def main(config: DictConfig) -> None:
    """Runs the composed check; exits with status 1 if anything is wrong."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from fcnseg.console import reported

    folder = Path(HydraConfig.get().runtime.output_dir)
    with reported(folder, config):
        found = check(resolved(config, CheckConfig), folder)
    if found.faults:
        sys.exit(1)


def check(config: CheckConfig, folder: "Path") -> "Inspection":
    """Inspects the training and the validation images, prints what is found, and writes check.json and check.png.

    Args:
        config: says which data.
        folder: where both go.

    Raises:
        ValueError: a key that the data set needs is missing, or one is set that it does not know.
    """
    from fcnseg.charts import statistics_chart
    from fcnseg.results import write_json

    found = inspected(config.data, config.progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "check.json", {"data": config.data.name, **as_json(found)})
    statistics_chart(f"data={config.data.name}", found.classes, found.parts).save(folder / "check.png")
    show(found, folder)
    return found


def inspected(data: DataConfig, progress: bool) -> "Inspection":
    """Reads every training and validation image that the configuration names.

    Args:
        data: says which; data.workers are read at the same time.
        progress: show a progress bar.

    Raises:
        ValueError: a key is missing, unknown, or not one of its choices.
    """
    from rich.console import Console
    from rich.progress import track

    from fcnseg.data.inspect import conclude, inspect_images
    from fcnseg.data.leaks import COMPARISONS, OVERLAPS
    from fcnseg.sources import survey_source

    for key, value, choices in (("overlap", data.overlap, OVERLAPS), ("overlap_by", data.overlap_by, COMPARISONS)):
        if value not in choices:
            raise ValueError(f"data.{key} must be one of {', '.join(choices)}, not {value!r}")
    said: list[Fault] = []
    opened = {part: survey_source(data, part, said.append) for part in ("train", "val")}
    sources = {part: source for part, source in opened.items() if source is not None}
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    seen = {
        part: list(
            track(inspect_images(source, data.workers), part, len(source), console=console, disable=not progress)
        )
        for part, source in sources.items()
    }
    classes = next((source.classes for source in sources.values()), ())
    return conclude(classes, seen, said, partial=bool(data.partial), overlap=data.overlap, overlap_by=data.overlap_by)


def as_json(found: "Inspection") -> dict[str, Any]:
    """Returns what check.json says; sizes are width x height."""
    names = [*found.classes, "void"]
    return {
        "sound": not found.faults,
        "findings": [{"kind": each.kind, "path": str(each.path), "said": each.said} for each in found.faults],
        "remarks": [{"kind": each.kind, "path": str(each.path), "said": each.said} for each in found.remarks],
        "splits": {
            part: {
                "images": content.images,
                "missing": content.missing,
                "masks": content.masks,
                "pixels": dict(zip(names, content.pixels, strict=True)),
                "images_with": dict(zip(names, content.present, strict=True)),
                "sizes": {f"{width}x{height}": count for (height, width), count in content.sizes.items()},
            }
            for part, content in found.parts.items()
        },
    }


def show(found: "Inspection", folder: "Path") -> None:
    """Prints the statistics, a few of the harmless remarks, and every fault."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    console.print(class_table(found))
    for part, content in found.parts.items():
        console.print(f"{part}: {described(content)}")
    for kind in dict.fromkeys(remark.kind for remark in found.remarks):
        alike = [remark for remark in found.remarks if remark.kind == kind]
        for remark in alike[:MOST_REMARKS]:
            console.print(f"[yellow]remark[/] ({kind}): {escape(one_line(remark.said))}")
        if len(alike) > MOST_REMARKS:
            console.print(f"[yellow]remark[/] ({kind}): and {len(alike) - MOST_REMARKS:,} more, see check.json")
    for kind, line in wrong_lines(found.faults):
        console.print(f"[bold red]wrong[/] ({kind}): {escape(one_line(line))}")
    number = len(found.faults)
    verdict = (
        f"[bold red]{number:,} fault{'s' * (number != 1)}[/]" if found.faults else "[bold green]nothing is wrong[/]"
    )
    console.print(f"{verdict}; written to {escape(str(folder))}: check.json, check.png")


def wrong_lines(faults: "Sequence[Fault]") -> "Iterator[tuple[str, str]]":
    """Yields kind and message of each fault; a folder that lacks very many files tells so once."""
    from fcnseg.data.splits import listed

    lacking: dict[Path, list[str]] = {}
    for fault in faults:
        if fault.kind == "missing":
            lacking.setdefault(fault.path.parent, []).append(fault.path.name)
    for fault in faults:
        names = lacking[fault.path.parent] if fault.kind == "missing" else []
        if len(names) <= MOST_MISSING:
            yield fault.kind, fault.said
        elif fault.path.name == names[0]:
            remedy = (
                "restore them, or take their ids out of the list (for VOC and SBD data.partial=true takes what is "
                "there); check.json names all"
            )
            yield fault.kind, f"{len(names):,} files are missing in {fault.path.parent}: {listed(names, 3)}: {remedy}"


def one_line(text: str) -> str:
    """Returns a message as one line that any terminal can print, whatever bytes a file name holds."""
    return text.replace("\n", " ").encode("utf-8", "replace").decode()


def described(content: "Statistics") -> str:
    """Says how many images there are, and of which sizes."""
    missing = f", {content.missing:,} missing" if content.missing else ""
    often = [f"{width}x{height} ({count:,})" for (height, width), count in list(content.sizes.items())[:3]]
    sizes = f"{len(content.sizes):,} sizes, most often {', '.join(often)}" if often else "none can be read"
    return f"{content.images:,} images{missing}, {sizes}"


def class_table(found: "Inspection") -> "Table":
    """Lays out pixels and images of each class; a class that does not occur stands out."""
    from rich.table import Table

    table = Table(title="pixels, and images that hold them")
    table.add_column("class")
    for part in found.parts:
        table.add_column(f"{part} pixels", justify="right")
        table.add_column("images", justify="right")
    for label, name in enumerate([*found.classes, "void"]):
        cells = []
        for content in found.parts.values():
            share = content.pixels[label] / max(1, sum(content.pixels))
            counts = [f"{share:.2%}", f"{content.present[label]:,}"]
            absent = not content.present[label] and name != "void"
            cells += [f"[bold yellow]{count}[/]" if absent else count for count in counts]
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()
