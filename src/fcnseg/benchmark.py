"""python -m fcnseg.benchmark CLAIM: speed and memory of this machine, ours and the peers measured in one run."""

import argparse
import importlib
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def side_lengths(text: str) -> tuple[int, int]:
    """Reads WIDTHxHEIGHT."""
    width, height = (counting(side) for side in text.split("x"))
    return width, height


def counting(text: str) -> int:
    """Reads a number from 1 up."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def counts(text: str) -> tuple[int, ...]:
    """Reads numbers with commas between them."""
    return tuple(counting(each) for each in text.split(","))


def names(text: str) -> tuple[str, ...]:
    """Reads names with commas between them."""
    return tuple(text.split(","))


@dataclass(frozen=True)
class Option:
    """What a word of the command line means.

    Attributes:
        read: text to value.
        says: for --help.
        choices: all there are; None leaves it open.
    """

    read: Callable[[str], Any]
    says: str
    choices: tuple[str, ...] | None = None


OPTIONS = {
    "model": Option(str, "the net", ("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce")),
    "backbone": Option(str, "ours; torchfcn has vgg16 only"),
    "size": Option(side_lengths, "WIDTHxHEIGHT of the images"),
    "batch": Option(counting, "images a step"),
    "precision": Option(str, "what it computes in", ("fp32", "bf16")),
    "device": Option(str, "cpu or cuda"),
    "repeat": Option(counting, "rounds, of which the median counts"),
    "sides": Option(counts, "sides of the images that are compared"),
    "batches": Option(counts, "images a pass that are compared"),
    "backbones": Option(names, "backbones that are compared"),
    "sizes": Option(counting, "number of different sizes"),
    "strides": Option(counts, "output strides that are compared"),
    "log-every": Option(counting, "steps between entries of metrics.csv"),
    "limit": Option(counting, "seconds after which no further row is begun"),
    "root": Option(str, "folder of a VOCdevkit; none draws images"),
    "images": Option(counting, "images that are loaded"),
    "crop": Option(counting, "side of the crops"),
    "peers": Option(Path, "folder of an unpacked torchfcn, where it is not installed"),
}
"""Every option that a claim may take."""

WIDTH = 120
"""Columns of a table that goes into a file."""

IMAGES: dict[str, Any] = {"size": (500, 375), "batch": 1, "device": "cpu"}
NET: dict[str, Any] = IMAGES | {"model": "fcn8s", "backbone": "vgg16"}
NETS: dict[str, Any] = NET | {"peers": None}
"""Options of what needs images, a net, or nets to compare it with; they become a benchmarks.nets.Setting."""


@dataclass(frozen=True)
class Claim:
    """One subcommand; its module in fcnseg.benchmarks has the same name.

    Attributes:
        says: for --help.
        options: {name: what it is unless said otherwise}, arguments of the module's ``measure``.
        setting: likewise, of the Setting that is its first argument.
    """

    says: str
    options: Mapping[str, Any]
    setting: Mapping[str, Any] = field(default_factory=dict)


CLAIMS = {
    "infer": Claim("images through the net", {"precision": "fp32", "repeat": 5}, NETS),
    "train": Claim("whole training steps", {"precision": "fp32", "repeat": 5}, NETS),
    "memory": Claim("the peak of memory above the net", {}, NETS),
    "recipes": Claim(
        "the peak of memory of every recipe",
        {"backbones": ("squeezenet", "vgg16")},
        {"size": (500, 375), "device": "cpu"},
    ),
    "sizes": Claim(
        "whether memory stays flat over images of many sizes",
        {"sizes": 40},
        {"model": "fcn8s", "backbone": "vgg16", "size": (500, 375), "device": "cpu"},
    ),
    "loss": Claim("upsampling and loss, forward and backward", {"repeat": 9}, NET),
    "metrics": Claim("the confusion matrix against the authors' numpy", {"repeat": 9}, IMAGES | {"batch": 20}),
    "loader": Claim(
        "images and masks on disk to batches of crops",
        {"root": None, "images": 48, "repeat": 9, "crop": 320, "batch": 8},
    ),
    "overhead": Claim(
        "what Lightning adds to a training step",
        {"repeat": 30, "log-every": 10},
        NET | {"backbone": "squeezenet", "size": (96, 96), "batch": 8},
    ),
    "scaling": Claim(
        "inference over sizes, batches and strides",
        {
            "sides": (250, 500, 1000, 2000),
            "batches": (1, 2, 4, 8, 16, 32),
            "strides": (32, 16, 8),
            "precision": "fp32",
            "repeat": 3,
        },
        NETS | {"size": (250, 250)},
    ),
    "gpu": Claim(
        "training and inference on a GPU, every way that may be fast",
        {"repeat": 10, "limit": 200},
        NETS | {"size": (500, 500), "batch": 20, "device": "cuda"},
    ),
    "convolutionalization": Claim(
        "one pass over a large image against its crops (Sec. 3.1)",
        {"backbone": "caffenet", "repeat": 5, "device": "cpu"},
    ),
}


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    whole = argparse.ArgumentParser(prog="python -m fcnseg.benchmark", description=__doc__)
    names = whole.add_subparsers(dest="name", required=True, metavar="CLAIM")
    for name, claim in CLAIMS.items():
        one = names.add_parser(name, help=claim.says, description=claim.says)
        for key, default in {**claim.setting, **claim.options}.items():
            option = OPTIONS[key]
            said = f"{option.says} (default {written(default)})"
            one.add_argument(f"--{key}", type=option.read, default=default, choices=option.choices, help=said)
        one.add_argument("--threads", type=counting, help="threads of the processor (default torch's choice)")
        one.add_argument("--out", type=Path, help="folder of the records (default experiments/results/benchmarks)")
    return whole


def written(default: Any) -> str:
    """Returns a default as one would type it."""
    if isinstance(default, tuple):
        return ("x" if isinstance(default[0], int) and len(default) == 2 else ",").join(str(each) for each in default)
    return "none" if default is None else str(default)


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark named on the command line, prints its table and appends its record."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = vars(parser().parse_args(words))
    name, threads, out = (chosen.pop(key) for key in ("name", "threads", "out"))

    import torch
    from rich.console import Console

    from fcnseg.benchmarks import machine, records
    from fcnseg.benchmarks.nets import Setting
    from fcnseg.messages import complained

    with complained(), machine.exact_and_tuned():
        if threads:
            torch.set_num_threads(threads)
        device = chosen.get("device", "cpu")
        if wanted := CLAIMS[name].setting:
            chosen["setting"] = Setting(**{key: chosen.pop(key) for key in wanted})
        before = machine.load()
        found = importlib.import_module(f"fcnseg.benchmarks.{name}").measure(**chosen)
        after = machine.load()
        command = f"python -m fcnseg.benchmark {shlex.join(words)}"
        record = records.recorded(command, found, machine.described(device), before, after)
        wide = None if sys.stdout.isatty() else WIDTH
        records.show(record, Console(highlight=False, width=wide))
        print(f"appended to {records.append(out or records.FOLDER, name, record)}")


if __name__ == "__main__":
    main()
