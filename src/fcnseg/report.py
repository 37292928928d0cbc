"""python -m fcnseg.report EXPERIMENT: our runs beside the paper's numbers, as Markdown, LaTeX and one page of HTML."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from fcnseg.reports.summary import Summary


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    known = argparse.ArgumentParser(prog="python -m fcnseg.report", description=__doc__)
    known.add_argument("experiment", help="a YAML file of experiments/, or its name")
    known.add_argument("--runs", type=Path, help="folder of the runs (default multirun/EXPERIMENT)")
    known.add_argument("--scale", choices=("full", "small"), help="which runs (default those worked on last)")
    known.add_argument("--out", type=Path, help="folder of the report (default report/ in that of the runs)")
    known.add_argument("--verdict", default="", help="one sentence for the top: is the paper's claim borne out?")
    known.add_argument(
        "--no-photographs", dest="photographs", action="store_false", help="leave the validation images themselves out"
    )
    return known


def main(arguments: list[str] | None = None) -> None:
    """Writes report.md, report.tex and report.html, and prints the table."""
    chosen = parser().parse_args(arguments)

    from fcnseg.messages import complained

    with complained():
        from fcnseg.reports.experiment import read_experiment
        from fcnseg.reports.markdown import scores
        from fcnseg.reports.summary import summarise

        experiment = read_experiment(chosen.experiment)
        runs = chosen.runs or Path("multirun") / experiment.name
        summary = summarise(experiment, runs, chosen.scale, chosen.verdict)
        written = write(summary, chosen.out or runs / "report", chosen.photographs)
        print(scores(summary))
        print("\n".join(str(path) for path in written))


def write(summary: "Summary", folder: Path, photographs: bool = True) -> list[Path]:
    """Writes a report in its three forms and returns the files.

    Args:
        summary: what it says.
        folder: made if it is not there.
        photographs: whether the validation images themselves may be in the page.

    Raises:
        ValueError: the disk is full, or refuses otherwise.
    """
    from fcnseg.disk import write_durably
    from fcnseg.reports.latex import latex
    from fcnseg.reports.markdown import markdown
    from fcnseg.reports.page import page

    forms = {
        "report.md": markdown(summary),
        "report.tex": latex(summary),
        "report.html": page(summary, photographs),
    }
    for name, content in forms.items():
        write_durably(folder / name, writer(content))
    return [folder / name for name in forms]


def writer(content: str) -> "Callable[[BinaryIO], object]":
    """Returns what writes a text to an open file."""
    return lambda file: file.write(content.encode())


if __name__ == "__main__":
    main()
