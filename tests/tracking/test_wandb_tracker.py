"""An offline run, read back from the file that W&B sends later."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from fcnseg.resumption import Checkpoints
from fcnseg.tracking.ledger import Ledger
from fcnseg.tracking.tracker import Ending, Legend
from fcnseg.tracking.wandb_tracker import WandbTracker
from fcnseg.visualize import Shown
from killing import Killed, at, die
from runs import SMALL, main, outcome
from runs import run as run_command
from wandb_file import recorded

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

OFFLINE = (*SMALL, "trainer.max_steps=4", "trainer.val_every=2", "logger=wandb", "logger.offline=true")
LABELS = ("logger.group=t2_skips/small", "logger.job_type=32s", "logger.tags=[Table 2,fcn8s,modern]")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Keeps W&B's own files out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE", "CONFIG"):
            patch.setenv(f"WANDB_{name}_DIR", str(tmp_path_factory.mktemp(name)))
        patch.delenv("WANDB_RUN_ID", raising=False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("run") / "a_run"
    assert main("train", *OFFLINE, *LABELS, f"hydra.run.dir={folder}") == 0
    return folder


@pytest.fixture(scope="module")
def run(folder):
    (found,) = recorded(folder)
    return found


def test_the_run_says_where_it_belongs(run, folder):
    assert (run.run.run_group, run.run.job_type) == ("t2_skips/small", "32s")
    assert list(run.run.tags) == ["Table 2", "fcn8s", "modern"]
    assert (run.run.display_name, run.run.project, run.exit_code) == ("a_run", "fcnseg", 0)
    assert run.run.run_id == json.loads((folder / "tracking" / "wandb.json").read_text())["id"]


def test_the_configuration_says_everything(run, folder):
    results = json.loads((folder / "results.json").read_text())
    assert run.config["optimizer"]["momentum"] == 0.9
    assert run.config["trainer"]["max_steps"] == 4
    for key in ("commit", "dirty", "data_fingerprint", "device", "config_hash", "lineage", "split_counts"):
        assert run.config[key] == results[key]


def test_the_curves_are_those_of_metrics_csv(run, folder):
    header, *lines = (folder / "metrics.csv").read_text().splitlines()
    entries = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    for name in set(header.split(",")) - {"step", "epoch"}:
        expected = [(int(entry["step"]), float(entry[name])) for entry in entries if entry[name]]
        assert np.allclose(run.curve(name), expected, rtol=1e-9), name
    assert {"train/loss", "val/mean_iu", "val/pixel_acc", "val/mean_acc", "val/fw_iu"} <= set(header.split(","))
    assert [step for step, _ in run.curve("val/iu/background")] == [1, 3]
    assert any(name.startswith("lr-") for name in header.split(","))


def test_speed_wait_and_memory_are_measured_but_not_in_metrics_csv(run, folder):
    for name, low, high in (("speed/images_per_s", 0, 1e6), ("speed/data_wait", 0, 1), ("memory/peak_gib", 0.01, 1e3)):
        values = [value for _, value in run.curve(name)]
        assert len(values) == 3  # the first step warms up
        assert all(low <= value <= high for value in values)
        assert name not in (folder / "metrics.csv").read_text()


def test_the_summaries_take_the_best(run):
    assert run.metrics["val/mean_iu"].summary.max
    assert run.metrics["train/loss"].summary.min
    assert all(run.metrics[name].step_metric == "trainer/global_step" for name in ("val/mean_iu", "*"))


def test_pictures_carry_prediction_and_truth_with_the_names_of_the_classes(run):
    pictures = [entry for entry in run.history if "val/images.count" in entry]
    assert [entry["trainer/global_step"] for entry in pictures] == [1, 3]
    first, last = pictures
    assert first["val/images.captions"] == last["val/images.captions"]
    assert len(first["val/images.captions"]) == 5  # all that there are, below twelve
    for masks in first["val/images.all_masks"]:
        assert set(masks) == {"prediction", "ground_truth"}
    truth = np.asarray(Image.open(run.files / first["val/images.all_masks"][0]["ground_truth"]["path"]))
    assert 255 in truth
    labels = run.config["_wandb"]["mask/class_labels"]
    assert {"val/images_wandb_delimeter_prediction", "val/images_wandb_delimeter_ground_truth"} <= set(labels)
    for each in labels.values():
        assert (each["value"]["0"], each["value"]["255"]) == ("background", "void")


def test_the_end_brings_a_table_a_confusion_matrix_and_the_model(run, folder):
    artifacts = {each.type: each for each in run.artifacts if each.type == "model"}
    table = next(entry for entry in run.history if "val/predictions.path" in entry)
    content = json.loads((run.files / table["val/predictions.path"]).read_text())
    assert content["columns"] == ["id", "image", "prediction", "truth", "mean IU", "pixel acc."]
    assert len(content["data"]) == 5
    matrix = next(entry for entry in run.history if "val/confusion_matrix_table.path" in entry)
    rows = json.loads((run.files / matrix["val/confusion_matrix_table.path"]).read_text())["data"]
    counts = json.loads((folder / "results.json").read_text())["confusion_matrix"]
    assert [row[2] for row in rows] == list(itertools.chain(*counts))
    model = artifacts["model"]
    assert {each.path for each in model.manifest.contents} == {"last.ckpt", "config.yaml"}
    assert model.name == f"fcnseg-{run.run.run_id}"
    assert set(model.aliases) == {"latest", "last", "fcn8s"}


@pytest.mark.slow
@pytest.mark.usefixtures("places")
def test_a_run_that_is_killed_goes_on_as_the_same_run_without_a_step_twice(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_start", 4, die)  # after three steps
        with pytest.raises(Killed):
            main("train", *OFFLINE, f"hydra.run.dir={tmp_path}")
    assert main("train", *OFFLINE, f"hydra.run.dir={tmp_path}") == 0
    first, second = recorded(tmp_path)
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert first.run.run_id == second.run.run_id
    steps = [step for each in (first, second) for step, _ in each.curve("train/loss")]
    assert steps == [0, 1, 2, 3]
    assert [step for each in (first, second) for step, _ in each.curve("val/mean_iu")] == [1, 3]
    assert second.history[0]["_step"] > first.history[-1]["_step"]


@pytest.mark.slow
@pytest.mark.usefixtures("places")
def test_a_refused_run_after_its_start_ends_with_its_status(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("nothing will come of this")

    monkeypatch.setattr(Checkpoints, "on_train_start", fail)
    assert main("train", *OFFLINE, f"hydra.run.dir={tmp_path}") == 1
    (run,) = recorded(tmp_path)
    assert run.exit_code == 1


@pytest.mark.slow
@pytest.mark.usefixtures("places")
def test_metrics_csv_is_the_same_without_wandb(tmp_path, folder):
    plain = [each for each in OFFLINE if not each.startswith("logger")]
    assert main("train", *plain, f"hydra.run.dir={tmp_path}") == 0
    assert outcome(tmp_path)["metrics"] == outcome(folder)["metrics"]


class Recorder:
    """Stands for a run of W&B."""

    def __init__(self):
        self.entries, self.step, self.used, self.made = [], 0, [], []
        self.settings = type("Settings", (), {"_offline": False})
        self.summary = {}

    def log(self, entry, step=None):
        self.entries.append((step, entry))

    def use_artifact(self, name):
        self.used.append(name)

    def log_artifact(self, artifact, aliases):
        self.made.append((artifact, aliases))


@pytest.mark.usefixtures("places")
def test_a_model_is_made_from_that_of_the_coarser_net(tmp_path):
    coarser = tmp_path / "32s"
    for path in (coarser, tmp_path / "16s"):
        Ledger(path / "tracking" / "wandb.json").save()
        (path / "checkpoints").mkdir()
        torch.save({}, path / "checkpoints" / "best.ckpt")
        (path / "config.yaml").write_text("{}")
    parent = Ledger(coarser / "tracking" / "wandb.json").id
    tracker = WandbTracker(tmp_path / "16s", project="p", artifact="best")
    tracker.run = Recorder()
    scores = {"mean_iu": 0.5, "steps": 3, "per_class_iu": {}}
    content = scores | {"model": "fcn16s", "best": scores, "lineage": [{"folder": str(coarser)}]}
    shown = [Shown("a", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))]
    legend = Legend(("background", "cat"), 255)
    tracker.end(Ending(content | {"confusion_matrix": [[16, 0], [0, 0]]}, shown, legend, tmp_path / "16s"))
    assert tracker.run.used == [f"fcnseg-{parent}:latest"]
    ((artifact, aliases),) = tracker.run.made
    assert artifact.name == f"fcnseg-{tracker.ledger.id}"
    assert artifact.metadata["parents"] == [f"fcnseg-{parent}"]
    assert aliases == ["latest", "best", "fcn16s"]
    assert not tracker._complained


@pytest.mark.slow
def test_three_jobs_of_a_sweep_are_three_runs_of_one_group(tmp_path):
    places = {f"WANDB_{name}_DIR": str(tmp_path / name) for name in ("DATA", "CACHE", "CONFIG")}
    sweep = tmp_path / "multirun" / "seeds"
    done = run_command("train", "-m", *OFFLINE, "seed=0,1,2", f"hydra.sweep.dir={sweep}", cwd=tmp_path, **places)
    assert done.returncode == 0, done.stdout + done.stderr
    folders = sorted(path.parent for path in sweep.glob("*/results.json"))
    runs = [each for folder in folders for each in recorded(folder)]
    assert len(runs) == len({each.run.run_id for each in runs}) == 3
    assert {each.run.run_group for each in runs} == {"multirun/seeds"}
    assert {each.run.job_type for each in runs} == {"fcn8s_squeezenet"}
    assert {tuple(each.run.tags) for each in runs} == {("fcn8s", "squeezenet", "modern")}
    assert sorted(each.config["seed"] for each in runs) == [0, 1, 2]
    assert [each.exit_code for each in runs] == [0, 0, 0]
