"""Evaluation: training's own scores again, other data, and checkpoints that cannot be used."""

import json
import shutil

import pytest
import torch

from fcnseg.weights.stages import read_stage
from payload import Payload
from runs import SMALL, evaluate, main, run, said, snapshot, state_of, trained
from tiny_voc import picture, write_devkit
from toy_folder import write_toy

SCORES = ("pixel_acc", "mean_acc", "mean_iu", "fw_iu", "per_class_iu", "confusion_matrix", "num_images", "val_loss")
IDENTITY = ("recipe", "departures", "experiment", "row", "model", "backbone", "output_stride", "data", "seed", "steps")
IDENTITY += ("weights_from", "schema_version", "commit")
SAME_IMAGES = ("trainer.limit_val_batches=2", "trainer.accelerator=cpu", "trainer.progress=false")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """The run folder of a small training and its results."""
    folder = tmp_path_factory.mktemp("training")
    learned = ["trainer.max_steps=6", "optimizer.lr=3e-3", "optimizer.warmup=0", "trainer.val_every=3"]
    return folder, trained(folder, *SMALL, *learned)


@pytest.fixture(scope="module")
def command(training, tmp_path_factory):
    """The evaluation of that run in a process of its own."""
    folder = tmp_path_factory.mktemp("command") / "results"
    arguments = [f"checkpoint={training[0]}", *SAME_IMAGES, f"hydra.run.dir={folder}"]
    done = run("evaluate", *arguments, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "results.json").read_text())


@pytest.fixture
def evaluated(training, tmp_path):
    """Evaluates that run in this process with further overrides."""

    def evaluate(*overrides, checkpoint=training[0]):
        arguments = [f"checkpoint={checkpoint}", "trainer.accelerator=cpu", "trainer.progress=false", *overrides]
        folder = tmp_path / f"evaluation{len(list(tmp_path.iterdir()))}"
        assert main("evaluate", *arguments, f"hydra.run.dir={folder}") == 0
        return json.loads((folder / "results.json").read_text())

    return evaluate


@pytest.fixture
def refusal(capsys, tmp_path):
    """What the command says on stderr when it refuses."""

    def refuse(*arguments):
        assert main("evaluate", f"hydra.run.dir={tmp_path / 'no'}", *arguments, "trainer.progress=false") == 1
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        assert printed.count("\n") == 1
        assert not (tmp_path / "no" / "results.json").exists()
        return said(printed)

    return refuse


# ---- the same scores


def test_a_run_folder_gives_the_last_validation_again(training, command):
    _, evaluation = command
    assert {key: evaluation[key] for key in SCORES} == {key: training[1][key] for key in SCORES}
    assert {key: evaluation[key] for key in IDENTITY} == {key: training[1][key] for key in IDENTITY}


def test_results_say_which_checkpoint_and_which_data(training, command):
    _, evaluation = command
    folder, results = training
    assert evaluation["checkpoint"] == str(folder / "checkpoints" / "last.ckpt")
    assert evaluation["split_counts"] == {"val": 5}
    assert evaluation["data_fingerprint"] == {"val": results["data_fingerprint"]["val"]}
    assert evaluation["device"] == "cpu"
    assert evaluation["seconds"] > 0


def test_the_terminal_shows_the_scores(training, command):
    done, evaluation = command
    assert f"{100 * evaluation['pixel_acc']:.1f}" in done.stdout
    assert "2 images of shapes" in done.stdout
    assert "Warning" not in done.stdout + done.stderr


def test_the_run_folder_is_left_as_it_was(training, evaluated):
    before = snapshot(training[0])
    evaluated()
    assert snapshot(training[0]) == before


def test_a_checkpoint_gives_the_scores_of_its_own_step(training, evaluated):
    folder, results = training
    best = evaluated(*SAME_IMAGES, checkpoint=folder / "checkpoints" / "best.ckpt")
    assert (best["mean_iu"], best["steps"]) == (results["best"]["mean_iu"], results["best"]["steps"])
    assert best["per_class_iu"] == results["best"]["per_class_iu"]
    assert best["steps"] < results["steps"]
    assert best["val_loss"] != results["val_loss"]


def test_workers_and_devices_are_chosen_anew(training, evaluated):
    assert evaluated(*SAME_IMAGES, "data.workers=1")["confusion_matrix"] == training[1]["confusion_matrix"]


def test_double_precision_is_not_rounded_on_the_way(tmp_path, evaluated):
    double = trained(tmp_path / "run", *SMALL, "trainer.precision=64-true", "trainer.max_steps=1")
    assert evaluated(*SAME_IMAGES, checkpoint=tmp_path / "run")["val_loss"] == double["val_loss"]


# ---- other data


@pytest.mark.parametrize("count", [1, 7])
def test_a_part_of_the_data_can_be_changed(training, evaluated, count):
    evaluation = evaluated(f"data.val_count={count}")
    assert evaluation["num_images"] == evaluation["split_counts"]["val"] == count
    assert evaluation["data"] == "shapes"
    assert sum(map(sum, evaluation["confusion_matrix"])) < count * 32 * 48


def test_other_drawn_images_have_another_fingerprint(training, evaluated):
    assert evaluated("data.seed=9")["data_fingerprint"]["val"] != training[1]["data_fingerprint"]["val"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A training on a devkit whose images were resized, and another devkit."""
    folder = tmp_path_factory.mktemp("photographs")
    data = ["data=voc2012", f"data.root={write_devkit(folder / 'one')}", "data.image_side=40", "data.crop=32"]
    rest = ["data.batch_size=2", "data.workers=0", "trainer.max_steps=1", "trainer.accelerator=cpu"]
    trained(folder / "run", *data, *rest, "trainer.progress=false", "trainer.log_every=1")
    write_devkit(folder / "two", train=1, val=4, year="2007")
    return folder


def labels(numbers):
    """How many pixels each class has in some images of the tiny devkit."""
    truth = torch.cat([torch.from_numpy(picture(number)[1]).flatten() for number in numbers]).long()
    return torch.bincount(truth[truth != 255], minlength=21).tolist()


def test_other_data_is_taken_wholly(photographs, evaluated):
    data = ["data=voc2012", f"data.root={photographs / 'two'}", "data.year='2007'", "data.image_side=null"]
    evaluation = evaluated(*data, checkpoint=photographs / "run")
    assert torch.tensor(evaluation["confusion_matrix"]).sum(1).tolist() == labels([1, 2, 3, 4])
    assert (evaluation["data"], evaluation["num_images"]) == ("voc2012", 4)
    assert set(evaluation["per_class_iu"]) > {"aeroplane", "person"}


def test_another_split_of_the_same_data(photographs, evaluated):
    evaluation = evaluated("data.val_split=trainval", "data.image_side=null", checkpoint=photographs / "run")
    assert torch.tensor(evaluation["confusion_matrix"]).sum(1).tolist() == labels(range(5))


def test_your_own_images_are_taken_with_their_classes(training, tmp_path, evaluated):
    root = write_toy(tmp_path / "toy", 6)
    found = evaluated("data=folder", f"data.root={root}", "data.classes={none: 0, disc: 1, square: 2}", "data.void=255")
    assert list(found["per_class_iu"])[:3] == ["none", "disc", "square"]
    assert found["split_counts"]["val"] == found["num_images"] > 0


def test_a_mapping_of_classes_is_not_mixed_with_the_trainings(training):
    stage = read_stage(training[0])
    stage.record["config"]["data"]["classes"] = {"a": 0, "b": 1}
    trainer = {"devices": 1}
    assert evaluate.merged(stage, {"classes": {"c": 5, "d": 6}}, trainer).data.classes == {"c": 5, "d": 6}
    assert evaluate.merged(stage, {"void": 7}, trainer).data.classes == {"a": 0, "b": 1}


def test_other_data_is_resized_as_the_training_was(photographs, evaluated):
    data = ["data=voc2012", f"data.root={photographs / 'one'}"]
    small = evaluated(*data, checkpoint=photographs / "run")
    assert sum(map(sum, small["confusion_matrix"])) < sum(labels([3, 4])) / 2


# ---- what cannot be used is one line


def test_the_checkpoint_must_be_said(refusal):
    assert refusal().startswith("error: checkpoint must be set: a checkpoint that training wrote, or a run folder")


def test_a_missing_checkpoint_is_named(tmp_path, refusal):
    assert f"no checkpoint and no run folder {tmp_path / 'nosuch.ckpt'}" in refusal(
        f"checkpoint={tmp_path}/nosuch.ckpt"
    )


def test_a_folder_that_is_no_run_is_named(tmp_path, refusal):
    assert f"error: {tmp_path} is no finished run: there is no {tmp_path}/checkpoints/last.ckpt" in refusal(
        f"checkpoint={tmp_path}"
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "flipped"])
def test_a_damaged_checkpoint_is_named(training, tmp_path, refusal, damage):
    path = tmp_path / "damaged.ckpt"
    content = (training[0] / "checkpoints" / "last.ckpt").read_bytes()
    at = content.index(b"model.backbone.conv1")
    changed = {"cut": content[: len(content) // 2], "empty": b"", "garbage": b"no checkpoint at all"}
    path.write_bytes(changed.get(damage, content[:at] + b"\xff\x00" + content[at + 2 :]))
    assert f"error: {path} cannot be read as tensors and plain containers: it is damaged" in refusal(
        f"checkpoint={path}"
    )


def test_a_checkpoint_that_holds_code_is_refused_and_the_code_not_run(training, tmp_path, refusal):
    content = torch.load(training[0] / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(content | {"hyper_parameters": Payload(tmp_path / "made")}, tmp_path / "evil.ckpt")
    message = refusal(f"checkpoint={tmp_path / 'evil.ckpt'}")
    assert f"error: {tmp_path / 'evil.ckpt'} cannot be read" in message
    assert "holds code, which is never run" in message
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"fcnseg": {}}, {}, {"weight": torch.ones(2)}])
def test_a_foreign_checkpoint_is_refused(tmp_path, refusal, content):
    torch.save(content, tmp_path / "other.ckpt")
    assert "other.ckpt was not written by fcnseg.train" in refusal(f"checkpoint={tmp_path / 'other.ckpt'}")


def test_a_checkpoint_that_is_no_dictionary_is_refused(tmp_path, refusal):
    torch.save([torch.ones(2)], tmp_path / "list.ckpt")
    assert "list.ckpt holds a list, not a dictionary of tensors" in refusal(f"checkpoint={tmp_path / 'list.ckpt'}")


def changed(training, path, change):
    content = torch.load(training[0] / "checkpoints" / "last.ckpt", weights_only=True)
    change(content)
    torch.save(content, path)
    return f"checkpoint={path}"


def test_a_checkpoint_that_lacks_a_layer_is_refused(training, tmp_path, refusal):
    checkpoint = changed(
        training, tmp_path / "a.ckpt", lambda content: content["state_dict"].pop("model.score_fr.bias")
    )
    message = refusal(checkpoint)
    assert f"error: {tmp_path / 'a.ckpt'} does not hold the net that it describes" in message
    assert "score_fr.bias" in message


def test_a_checkpoint_of_another_version_is_refused(training, tmp_path, refusal):
    checkpoint = changed(
        training, tmp_path / "a.ckpt", lambda content: content["fcnseg"]["config"]["model"].update(width=2)
    )
    message = refusal(checkpoint)
    assert f"error: {tmp_path / 'a.ckpt'} was written by another version of fcnseg: Key 'width' not in" in message


def test_data_with_more_classes_than_the_net_is_refused(training, tmp_path, refusal):
    checkpoint = changed(training, tmp_path / "a.ckpt", lambda content: content["fcnseg"].update(num_classes=5))
    message = refusal(checkpoint)
    assert "a.ckpt knows 5 classes, data=shapes has 21: evaluate it on data with the same classes" in message


def test_data_with_other_classes_is_scored_with_a_warning(photographs, evaluated, capsys):
    assert evaluated("data=voc2012", f"data.root={photographs / 'one'}")["num_images"] == 2
    printed = said(capsys.readouterr().err)
    assert printed == (
        "warning: the net was trained on other classes than those of data=voc2012; labels are compared by number"
    )
    evaluated(checkpoint=photographs / "run")
    assert capsys.readouterr().err == ""


def test_a_folder_that_holds_results_is_refused(training, refusal):
    folder = training[0]
    before = snapshot(folder)
    message = refusal(f"checkpoint={folder}", f"hydra.run.dir={folder}", "hydra.output_subdir=null")
    assert f"error: {folder} already holds results.json: choose another folder with hydra.run.dir=DIR" in message
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.val_count=0", "error: data.val_count must be >= 1, not 0"),
        ("data.root=/nowhere", "error: data.root=/nowhere has no meaning for data=shapes: leave it out"),
    ],
)
def test_wrong_data_is_one_line(training, refusal, override, message):
    assert refusal(f"checkpoint={training[0]}", override).startswith(message)


def test_a_moved_run_folder_is_evaluated(training, tmp_path, evaluated):
    shutil.copytree(training[0], tmp_path / "moved")
    evaluation = evaluated(*SAME_IMAGES, checkpoint=tmp_path / "moved")
    assert evaluation["confusion_matrix"] == training[1]["confusion_matrix"]
    assert len(state_of(tmp_path / "moved")) > 50
