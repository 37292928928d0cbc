"""Training end to end, from the command line to the run folder."""

import csv
import json
import math
import re
from dataclasses import asdict

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from fcnseg.config import CONF_DIR, TrainConfig
from fcnseg.data.shapes import CLASSES
from fcnseg.data.voc import open_split
from payload import Payload
from runs import SMALL, composed, equal_states, main, run, said, snapshot, state_of, trained
from tiny_voc import write_devkit

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FIELDS = {"pixel_acc", "mean_acc", "mean_iu", "fw_iu", "per_class_iu", "confusion_matrix", "num_images", "split_counts"}
FIELDS |= {"data_fingerprint", "recipe", "experiment", "row", "model", "backbone", "output_stride", "seed", "steps"}
FIELDS |= {"seconds", "device", "commit", "dirty", "config_hash", "weights_from", "schema_version", "best"}
HEAVY = ("recipe=pami_heavy", "optimizer.lr=1e-10", "trainer.max_steps=2", "trainer.accelerator=cpu", "data.workers=0")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A small training in a process of its own, with a progress bar, and its run folder."""
    folder = tmp_path_factory.mktemp("command") / "run"
    arguments = [*SMALL, "trainer.progress=true", f"hydra.run.dir={folder}"]
    done = run("train", *arguments, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return done, folder


@pytest.fixture(scope="module")
def folder(command):
    return command[1]


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def devkit(tmp_path):
    return write_devkit(tmp_path / "VOCdevkit")


def refusal(capsys, *arguments):
    """What the command says on stderr when it refuses: one message, no traceback, exit status 1."""
    assert main("train", *arguments) == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    return said(printed)


# ---- the run folder


def test_a_run_leaves_its_folder(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {f"checkpoints/{name}.ckpt" for name in ("last", "previous", "best")}
    expected |= {"metrics.csv", "times.csv", "results.json", "config.yaml", "predictions/grid.png"}
    shown = ("{}.png", "truth/{}.png", "images/{}.jpg")
    names_of = [path.stem for path in (folder / "predictions" / "truth").iterdir()]
    assert len(names_of) == 5  # all validation images, of which six would be shown
    assert names == expected | {f"predictions/{each.format(name)}" for each in shown for name in names_of}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_results_say_everything(results):
    assert set(results) >= FIELDS
    expected = {"recipe": "modern+modified", "model": "fcn8s", "backbone": "squeezenet", "output_stride": 8, "seed": 0}
    expected |= {"steps": 2, "num_images": 2, "split_counts": {"train": 6, "val": 5}, "weights_from": "none"}
    expected |= {"experiment": None, "row": None, "device": "cpu", "data": "shapes"}
    assert {key: results[key] for key in expected} == expected
    assert set(results["per_class_iu"]) == set(CLASSES)
    assert set(results["data_fingerprint"]) == {"train", "val"}
    assert results["seconds"] > 0
    assert "data.crop" in results["departures"]


def test_the_four_scores_are_those_of_the_confusion_matrix(results):
    matrix = torch.tensor(results["confusion_matrix"])
    assert matrix.shape == (21, 21)
    assert not matrix.is_floating_point()
    assert 0 < matrix.sum() < 2 * 32 * 48  # two images without their void
    right, truth, found = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    iu = right / (truth + found - right)
    assert results["pixel_acc"] == pytest.approx(float(right.sum() / truth.sum()), abs=1e-12)
    assert results["mean_acc"] == pytest.approx(float((right / truth)[truth > 0].mean()), abs=1e-12)
    assert results["mean_iu"] == pytest.approx(float(iu.nanmean()), abs=1e-12)
    assert results["fw_iu"] == pytest.approx(float((truth * iu).nansum() / truth.sum()), abs=1e-12)


def test_the_best_scores_stand_apart(results, folder):
    assert results["best"]["mean_iu"] >= results["mean_iu"]
    assert results["best"]["steps"] in (1, 2)
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == results["best"]["steps"]


def test_the_checkpoint_holds_tensors_and_plain_containers_alone(folder):
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2
    assert content["fcnseg"]["num_classes"] == 21
    assert content["fcnseg"]["config"] == asdict(written(folder))
    assert {"model.score_fr.weight", "model.score_pool3.bias", "model.backbone.conv1.weight"} <= set(state_of(folder))


def written(folder):
    merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(folder / "config.yaml"))
    return OmegaConf.to_object(merged)


def test_the_written_configuration_is_the_one_that_ran(folder):
    assert written(folder) == composed(*SMALL, "trainer.progress=true")


def test_every_entry_has_its_time(folder, results):
    with (folder / "metrics.csv").open() as metrics, (folder / "times.csv").open() as times:
        entries, made = list(csv.DictReader(metrics)), list(csv.DictReader(times))
    assert [row["step"] for row in entries] == [row["step"] for row in made]
    seconds = [float(row["seconds"]) for row in made]
    assert 0 < seconds[0] < seconds[-1] <= results["seconds"] + 0.1
    assert seconds == sorted(seconds)


def test_metrics_hold_losses_rates_and_scores_of_every_step(folder):
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = ("train/loss", "train/grad_norm", "val/mean_iu", "val/loss")
    assert {key: [row["step"] for row in rows if row.get(key)] for key in keys} == {key: ["0", "1"] for key in keys}
    assert all(float(row["train/grad_norm"]) > 0 for row in rows if row["train/grad_norm"])
    assert any(key.startswith("lr-") for key in rows[0])
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert losses[0] == pytest.approx(math.log(21), rel=1e-4)  # score layers start at zero
    assert losses[1] != losses[0]


def test_the_pictures_can_be_looked_at(folder):
    with Image.open(folder / "predictions" / "grid.png") as picture:
        assert picture.width > 300
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100


def test_the_terminal_tells_the_story(command, results):
    done, folder = command
    printed = said(done.stdout)
    assert "fcn8s on squeezenet: 738,666 parameters, receptive field 207, weights none" in printed
    assert "data shapes: 6 training and 5 validation images, 21 classes" in printed
    assert re.search("recipe modern[+]modified: 2 steps; changed: .*data.crop", printed)
    assert "step 1: pixel acc." in printed
    assert f"last (step 2) │ {100 * results['pixel_acc']:.1f}" in printed
    assert f"evaluate it python -m fcnseg.evaluate checkpoint={folder}" in printed
    assert "Warning" not in done.stderr + done.stdout


def test_a_second_run_into_the_same_folder_is_refused_and_changes_nothing(folder, capsys):
    before = snapshot(folder)
    message = refusal(capsys, *SMALL, "seed=1", f"hydra.run.dir={folder}")
    assert f"error: {folder} already holds a finished run: choose another folder with hydra.run.dir=DIR" in message
    assert snapshot(folder) == before


# ---- the same again


def test_the_same_seed_gives_the_same_bits(tmp_path, folder, results):
    again = trained(tmp_path / "again", *SMALL)
    assert equal_states(state_of(tmp_path / "again"), state_of(folder))  # of another process, too
    same = set(results) - {"seconds", "config_hash", "dirty"}
    assert {key: again[key] for key in same} == {key: results[key] for key in same}
    assert again == json.loads((tmp_path / "again" / "results.json").read_text())


def test_loader_workers_do_not_change_a_bit(tmp_path, folder, results):
    helped = trained(tmp_path, *SMALL, "data.workers=2")
    assert equal_states(state_of(tmp_path), state_of(folder))
    assert helped["config_hash"] == results["config_hash"]


def test_another_seed_gives_other_weights(tmp_path, folder, results):
    other = trained(tmp_path, *SMALL, "seed=1")
    assert not equal_states(state_of(tmp_path), state_of(folder))
    assert other["data_fingerprint"] == results["data_fingerprint"]
    assert other["config_hash"] != results["config_hash"]


def test_accumulated_batches_are_one_step_of_a_large_batch(tmp_path):
    """On float64, without augmentation and dropout: the mean over all pixels of the step, whatever it is made of."""
    plain = [*SMALL, "data.scale=null", "data.crop=null", "data.flip=false", "data.jitter=0", "backbone.dropout=0"]
    plain += ["data.batching=groups", "trainer.precision=64-true", "trainer.max_steps=1", "optimizer=sgd"]
    plain += ["optimizer.momentum=0", "optimizer.lr=1", "trainer.clip=null", "optimizer.warmup=0"]
    trained(tmp_path / "one", *plain, "data.batch_size=6")
    trained(tmp_path / "three", *plain, "data.batch_size=2", "trainer.accumulate=3")
    one, three = (state_of(tmp_path / name) for name in ("one", "three"))
    assert one["model.score_fr.weight"].abs().max() > 1e-3
    for name, value in one.items():
        torch.testing.assert_close(three[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_sweep_leaves_a_folder_a_job(tmp_path, capsys):
    assert (
        main(
            "train",
            "-m",
            *SMALL,
            "trainer.max_steps=1",
            "seed=3,4",
            "hydra.launcher.n_jobs=2",
            f"hydra.sweep.dir={tmp_path}",
        )
        == 0
    )
    found = {path.parent: json.loads(path.read_text())["seed"] for path in tmp_path.rglob("results.json")}
    assert sorted(found.values()) == [3, 4]
    assert len(found) == 2


# ---- what users can mend is one message, without a traceback


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=voc2012", "data.root=/nowhere"], "error: data.root=/nowhere is no folder; give the VOCdevkit folder"),
        (["data=voc2012"], "error: data=voc2012 needs data.root: set it"),
        (["model=fcn32s"], "error: model.output_stride=32 is not to be had from SqueezeNet"),
        (["model.num_classes=5"], "error: model.num_classes=5, but data=shapes has 21 classes"),
        (["backbone.weights=/nowhere.pt"], "error: backbone.weights: there is no weights file /nowhere.pt"),
        (["init_from=/nowhere"], "error: init_from: there is no checkpoint and no run folder /nowhere"),
        (["data.height=8"], "error: data.height must be >= 32, not 8"),
    ],
)
def test_a_refusal_is_one_line(tmp_path, capsys, overrides, message):
    printed = refusal(capsys, "trainer.accelerator=cpu", *overrides, f"hydra.run.dir={tmp_path}")
    assert printed.startswith(message)
    assert printed.count("error:") == 1
    assert not (tmp_path / "config.yaml").exists()
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("key", "name"), [("backbone.weights", "evil.pth"), ("init_from", "evil.pth"), ("init_from", "evil.ckpt")]
)
def test_files_that_hold_code_are_refused_and_the_code_not_run(tmp_path, capsys, key, name):
    torch.save({"conv1.weight": torch.zeros(1), "more": Payload(tmp_path / "made")}, tmp_path / name)
    caffe = "backbone.normalization=caffe"
    printed = refusal(capsys, *SMALL, caffe, f"{key}={tmp_path / name}", f"hydra.run.dir={tmp_path / 'run'}")
    assert f"{tmp_path / name} cannot be read as tensors and plain containers" in printed
    assert "holds code, which is never run" in printed
    assert not (tmp_path / "made").exists()


def test_a_key_that_hydra_lets_in_by_a_plus_is_refused_all_the_same(tmp_path, capsys):
    for override, message in (
        ("+trainer.max_step=3", "error: there is no key trainer.max_step; did you mean trainer.max_steps?"),
        ("+backbon=vgg16", "error: there is no key backbon; did you mean backbone?"),
    ):
        assert message in refusal(capsys, *SMALL, override, f"hydra.run.dir={tmp_path / 'run'}")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_step=3", "Key 'max_step' not in 'TrainerConfig' full_key: trainer.max_step"),
        ("trainer.max_steps=few", "Value 'few' of type 'str' could not be converted to Integer"),
        ("model=fcn9s", "Could not find 'model/fcn9s' Available options in 'model': fcn16s"),
    ],
)
def test_a_typing_error_is_named(tmp_path, capsys, override, message):
    printed = refusal(capsys, override, f"hydra.run.dir={tmp_path / 'run'}")
    assert message in printed
    assert not (tmp_path / "run").exists()


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path, capsys, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("urlopen error: Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    printed = refusal(capsys, *SMALL, "backbone=vgg16", "backbone.padding=same", f"hydra.run.dir={tmp_path / 'run'}")
    assert re.match("error: the ImageNet weights of vgg16 are not here and could not be fetched", printed)
    assert re.search(rf"Put vgg16-\w+\.pth at {tmp_path}/hub/checkpoints/vgg16-\w+\.pth", printed)
    assert "backbone.weights=none" in printed


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_by_the_run_that_meets_it(tmp_path, devkit, capsys, workers):
    path = devkit / "VOC2012" / "JPEGImages" / "2012_000001.jpg"
    path.write_bytes(path.read_bytes()[:-500])
    data = ["data=voc2012", f"data.root={devkit}", "model=fcn16s", *HEAVY, f"data.workers={workers}"]
    data += ["trainer.max_steps=20", "trainer.progress=false", "data.replacement=false"]
    printed = refusal(capsys, *data, f"hydra.run.dir={tmp_path / 'run'}")
    assert re.fullmatch(rf"error: {path} cannot be read as an image \(.*\): restore it, or take its id .*", printed)


def test_help_lists_the_groups_and_the_most_used_keys(capsys):
    assert main("train", "--help") == 0
    printed = said(capsys.readouterr().out)
    assert "python -m fcnseg.train [GROUP=CHOICE ...] [KEY=VALUE ...]" in printed
    for group in ("model", "backbone", "data", "recipe"):
        choices = ", ".join(sorted(file.stem for file in (CONF_DIR / group).glob("*.yaml")))
        assert f"{group}: {choices}" in printed
    keys = re.findall(r"\b((?:data|backbone|trainer|optimizer|model)\.\w+)=", printed)
    assert len(keys) > 10
    config = OmegaConf.structured(composed())
    assert [key for key in keys if OmegaConf.select(config, key, default="none") == "none"] in (
        [],
        ["backbone.weights"],
    )


@pytest.mark.slow
def test_a_command_refuses_in_a_process_of_its_own(tmp_path):
    done = run("train", "data=voc2012", "data.root=/nowhere", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    assert said(done.stderr).startswith("error: data.root=/nowhere is no folder")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# ---- photographs on disk, in the paper's stages


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """FCN-16s and then FCN-8s, as published but for backbone and length, on images of different sizes."""
    folder = tmp_path_factory.mktemp("stages")
    devkit = write_devkit(folder / "VOCdevkit")
    data = ["data=voc2012", f"data.root={devkit}", *HEAVY, "trainer.progress=false", "trainer.log_every=1"]
    coarse = trained(folder / "16s", *data, "model=fcn16s")
    fine = trained(folder / "8s", *data, "model=fcn8s", f"init_from={folder / '16s'}")
    return folder, coarse, fine


def test_a_devkit_is_trained_on_image_by_image(stages):
    folder, coarse, _ = stages
    source = open_split(str(folder / "VOCdevkit"), "2012", "val")
    truth = torch.cat([torch.from_numpy(source.read(index)[1]).flatten() for index in range(2)]).long()
    matrix = torch.tensor(coarse["confusion_matrix"])
    assert matrix.sum(1).tolist() == torch.bincount(truth[truth != 255], minlength=21).tolist()
    assert (coarse["num_images"], coarse["split_counts"]) == (2, {"train": 3, "val": 2})
    assert coarse["recipe"] == "pami_heavy+modified"
    assert set(coarse["departures"]) == {"optimizer.lr", "trainer.max_steps"}


def test_the_finer_net_says_where_it_started(stages):
    folder, coarse, fine = stages
    assert (coarse["weights_from"], fine["weights_from"]) == ("none", str(folder / "16s" / "checkpoints" / "last.ckpt"))
    assert (coarse["output_stride"], fine["output_stride"]) == (16, 8)


def test_the_finer_net_goes_on_from_the_coarser_one(stages):
    folder, _, fine = stages
    before, after = state_of(folder / "16s"), state_of(folder / "8s")
    assert set(after) - set(before) == {"model.score_pool3.weight", "model.score_pool3.bias"}
    moved = max(float((after[name] - value).abs().max()) for name, value in before.items())
    assert 0 < moved < 1e-2  # two steps with a small rate
    assert 0 < after["model.score_pool3.weight"].abs().max() < 1e-2
    assert fine["steps"] == 2
