"""Sweeps as training leaves them, made up: an experiment's YAML, and run folders in every state."""

import csv
import json

import numpy as np
from PIL import Image

CLASSES = ("background", "aeroplane", "bicycle", "boat & <b>tender</b>", "never_seen")
PAPER = {
    "fixed": {"pixel_acc": 83.0, "mean_acc": 59.7, "mean_iu": 45.4, "fw_iu": 72.0},
    "32s": {"pixel_acc": 89.1, "mean_acc": 73.3, "mean_iu": 59.4, "fw_iu": 81.4},
    "16s": {"pixel_acc": 90.0, "mean_acc": 75.7, "mean_iu": 62.4, "fw_iu": 83.0},
    "8s": {"pixel_acc": 90.3, "mean_acc": 75.9, "mean_iu": 62.7, "fw_iu": 83.2},
}
TITLE = "Table 2, skips"
HOSTILE = "a_b & <script>alert(1)</script> | 50% $x$ \\end{table} #1"
"""A name that means something to HTML, to Markdown and to LaTeX."""


def write_experiment(path, rows=tuple(PAPER), paper=PAPER, **more):
    """Writes an experiment's YAML; JSON is YAML."""
    node = {"title": TITLE, "rows": {row: [f"model=fcn{row}"] for row in rows}, "paper": paper, "source": "Table 2"}
    path.write_text(json.dumps({"defaults": ["train", "_self_"], "experiment": node | more}))
    return path


def confusion(right, seed=0):
    """Counts of pixels of which a share is right; the last class neither occurs nor is predicted."""
    counts = np.random.default_rng(seed).integers(1, 40, (5, 5)) * (1 - right)
    counts[np.arange(5), np.arange(5)] = 400 * right
    counts[4], counts[:, 4] = 0, 0
    return counts.astype(int).tolist()


def results(row, seed, mean_iu, **more):
    """What results.json holds, with what a report reads."""
    iu = {name: mean_iu + 0.05 * (1 - place) for place, name in enumerate(CLASSES[:-1])} | {CLASSES[-1]: None}
    scores = {"pixel_acc": mean_iu + 0.3, "mean_acc": mean_iu + 0.15, "mean_iu": mean_iu, "fw_iu": mean_iu + 0.2}
    return {
        "schema_version": 1,
        "recipe": "modern",
        "departures": [],
        "experiment": TITLE,
        "row": row,
        "scale": "small",
        "model": f"fcn{row}",
        "backbone": "squeezenet32",
        "weights_from": "/somebody/weights.pt",
        "data": "voc2012",
        "seed": seed,
        "config_hash": f"{row}{seed}",
        "commit": "0123456789abcdef",
        "dirty": False,
        "split_counts": {"train": 700, "val": 300},
        "data_fingerprint": {"train": "a", "val": "b"},
        "device": "cpu",
        **scores,
        "per_class_iu": iu,
        "confusion_matrix": confusion(mean_iu, seed),
        "num_images": 300,
        "steps": 400,
        "best": {**scores, "mean_iu": mean_iu + 0.01, "steps": 300},
        "seconds": 4000.0,
        **more,
    }


def write_job(folder, row, seed=0, mean_iu=0.5, steps=400, finished=True, times=True, **more):
    """Writes one run folder; ``more`` goes into results.json."""
    folder.mkdir(parents=True)
    config = {"row": row, "scale": "small", "seed": seed, "trainer": {"max_steps": 400}}
    (folder / "config.yaml").write_text(json.dumps(config))
    write_curves(folder, seed, steps, mean_iu, times)
    if finished:
        (folder / "results.json").write_text(json.dumps(results(row, seed, mean_iu, **more)))
    return folder


def write_curves(folder, seed, steps, mean_iu, times=True):
    """Writes metrics.csv and times.csv as training does: rates, losses and scores on lines of their own."""
    random = np.random.default_rng(seed)
    lines = []
    for step in range(9, steps, 10):
        lines.append({"step": step, "lr-SGD/base": 1e-4})
        lines.append({"step": step, "epoch": 0, "train/loss": 3 * np.exp(-step / 150) + 0.4 + random.random() / 5})
        if (step + 1) % 100 == 0:
            lines.append({"step": step, "val/mean_iu": mean_iu * (1 - np.exp(-step / 120))})
    columns = sorted({key for line in lines for key in line} | {"step", "val/mean_iu"})
    write_csv(folder / "metrics.csv", columns, lines)
    if times:
        stamps = [{"step": line["step"], "seconds": 0.5 + 10 * line["step"]} for line in lines]
        write_csv(folder / "times.csv", ["seconds", "step"], stamps)


def write_csv(path, columns, lines):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)


def write_predictions(folder, wrong=0, names=("2007_000033", "2007_000042"), size=(120, 80)):
    """Writes what training saves for the qualitative grid."""
    home = folder / "predictions"
    for part in ("truth", "images"):
        (home / part).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        width, height = size
        labels = np.zeros((height, width), np.uint8)
        labels[20:60, 30 + 10 * number : 90] = 1 + number
        predicted = np.roll(labels, 4 * wrong, axis=1)
        labels[18:20, 28:92] = 255
        for path, mask in ((home / "truth" / f"{name}.png", labels), (home / f"{name}.png", predicted)):
            picture = Image.fromarray(mask)
            picture.putpalette(bytes(range(0, 256)) * 3)
            picture.save(path)
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(home / "images" / f"{name}.jpg")


def write_sweep(runs, seeds=(0, 1)):
    """Writes a sweep of Table 2 in every state: two rows are done, one failed in part, and one was not begun."""
    for place, row in enumerate(("32s", "16s")):
        for seed in seeds:
            job = write_job(runs / "small" / f"row={row},seed={seed}", row, seed, 0.45 + 0.04 * place + 0.01 * seed)
            write_predictions(job, wrong=2 - place)
    write_job(runs / "small" / "row=8s,seed=0", "8s", 0, 0.51)
    failed = write_job(runs / "small" / "row=8s,seed=1", "8s", 1, steps=120, finished=False)
    (failed / "console.log").write_text(
        "step 100: fine\nTraceback (most recent call last):\nValueError: out of memory\n"
    )
    return runs
