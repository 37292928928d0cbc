"""The command: images in, masks out, its exit status, and what it refuses before anything is read."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from fcnseg.prediction.reading import View, resized_back
from fcnseg.restoration import settings_of, trained_net
from fcnseg.weights.stages import read_stage
from runs import SMALL, main, run, said, trained
from tiny_voc import picture, write_devkit


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """The run folder of a small training whose images were resized."""
    folder = tmp_path_factory.mktemp("training") / "run,a=b"
    trained(folder, *SMALL, "data.image_side=40", "trainer.max_steps=3", "optimizer.lr=3e-3", "optimizer.warmup=0")
    return folder


@pytest.fixture(scope="module")
def submitting(tmp_path_factory):
    """A devkit, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("voc")
    root = write_devkit(folder / "VOCdevkit")
    data = ["data=voc2012", f"data.root={root}", "data.crop=32", "data.batch_size=2", "data.workers=0"]
    rest = ["trainer.max_steps=1", "trainer.accelerator=cpu", "trainer.progress=false", "trainer.log_every=1"]
    trained(folder / "run", *data, *rest)
    return root, folder / "run"


@pytest.fixture
def photos(tmp_path):
    """A folder with two images, one below."""
    for number, name in enumerate(("ä 図.png", "below/b.jpg")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)[0]).save(path)
    return tmp_path / "photos"


@pytest.fixture
def predict(training, tmp_path, capsys):
    """Runs the command; returns its exit status, the output folder and what it said."""

    def predict(*arguments, checkpoint=training):
        folder = tmp_path / f"out, {len(list(tmp_path.glob('out*')))} (é)"
        words = [f"checkpoint={checkpoint}", f"output={folder}", "accelerator=cpu", *arguments]
        status = main("predict", *words)
        printed = capsys.readouterr()
        return status, folder, said(printed.out), said(printed.err)

    return predict


@pytest.fixture
def refusal(predict):
    """What the command says when it refuses; nothing is written."""

    def refuse(*arguments, **options):
        status, folder, out, err = predict(*arguments, **options)
        assert (status, out) == (1, "")
        assert not folder.exists()
        return err

    return refuse


def mask(folder, name):
    with Image.open(folder / "masks" / f"{name}.png") as file:
        return np.array(file)


def by_hand(training, pixels, image_side):
    stage = read_stage(training)
    net = trained_net(stage, settings_of(stage)).eval()
    seen = View(image_side, 3).of(pixels)
    with torch.inference_mode():
        labels = net(torch.from_numpy(seen).permute(2, 0, 1)[None]).argmax(1)[0].numpy().astype(np.uint8)
    return resized_back(labels, pixels.shape[:2])


def test_a_folder_becomes_masks_and_overlays(predict, photos, training):
    status, folder, out, err = predict(f"input={photos}")
    assert (status, err) == (0, "")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == {
        *("masks/ä 図.png", "masks/below/b.png", "overlays/ä 図.jpg", "overlays/below/b.jpg", "predictions.json")
    }
    np.testing.assert_array_equal(mask(folder, "ä 図"), by_hand(training, picture(0)[0], 40))
    assert out.startswith(f"masks 2 in {folder / 'masks'}, after ")
    record = json.loads((folder / "predictions.json").read_text())
    assert (record["state"], record["image_side"], record["steps"], record["skipped"]) == ("finished", 40, 3, {})
    assert record["outputs"] == {str(photos / "ä 図.png"): "ä 図", str(photos / "below" / "b.jpg"): "below/b"}


def test_the_size_for_the_net_can_be_chosen(predict, photos, training):
    _, folder, *_ = predict(f"input={photos}/ä 図.png", "image_side=null")
    np.testing.assert_array_equal(mask(folder, "ä 図"), by_hand(training, picture(0)[0], None))
    _, folder, *_ = predict(f"input={photos}/ä 図.png", "image_side=64")
    np.testing.assert_array_equal(mask(folder, "ä 図"), by_hand(training, picture(0)[0], 64))


def test_a_mask_lies_as_viewers_show_the_image(predict, photos, training):
    with Image.open(photos / "ä 図.png") as file:
        stored, exif = file.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored.save(photos / "turned.png", exif=exif)
    _, folder, *_ = predict(f"input={photos}")
    np.testing.assert_array_equal(mask(folder, "turned"), mask(folder, "ä 図"))


def test_a_broken_file_is_skipped_and_told_by_the_status(predict, photos):
    (photos / "broken.jpg").write_bytes(b"")
    (photos / "notes.txt").touch()
    status, folder, out, err = predict(f"input={photos}")
    assert status == 1
    assert err.startswith(f"skipped: {photos / 'broken.jpg'} cannot be read as an image")
    assert "passed over 1 files" in out
    assert "skipped 1 of 3" in out
    assert len(list((folder / "masks").rglob("*.png"))) == 2
    assert list(json.loads((folder / "predictions.json").read_text())["skipped"]) == [str(photos / "broken.jpg")]


def test_a_list_on_standard_input(predict, photos, monkeypatch):
    lines = [photos / "ä 図.png", photos / "gone.png", photos / "below", photos / "below" / "b.jpg"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    status, folder, _, err = predict("input=-")
    assert status == 1
    assert "gone.png is no file that is there" in err
    assert "below is a folder, where an image was expected" in err
    assert {path.name for path in (folder / "masks").rglob("*.png")} == {"ä 図.png", "b.png"}


def test_a_pattern_and_options(predict, photos):
    options = ["tta.flip=true", "tta.scales=[0.75,1]", "probabilities=true", "overlays=false", "tile=512"]
    status, folder, *_ = predict(f"input={photos}/*.png", *options)
    assert status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["masks", "predictions.json", "probabilities"]
    with np.load(folder / "probabilities" / "ä 図.npz") as content:
        shares = content["probabilities"]
    np.testing.assert_allclose(shares.astype(float).sum(0), 1, atol=0.01)
    record = json.loads((folder / "predictions.json").read_text())
    assert (record["tile"], record["tta"]) == (512, {"flip": True, "scales": [0.75, 1.0]})


def test_outputs_are_not_mixed(predict, photos, tmp_path):
    _, folder, *_ = predict(f"input={photos}")
    status, _, _, err = predict(f"input={photos}", f"output={folder}")
    assert status == 1
    assert "holds predictions already: choose another folder, or set overwrite=true" in err
    status, *_ = predict(f"input={photos}/*.png", f"output={folder}", "overwrite=true")
    assert status == 0
    assert len(list((folder / "masks").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: input must be set: an image, a video, a folder, a pattern, or -"),
        (["input=nosuch"], "error: input=nosuch is no file and no folder"),
        (["input=.", "tile=big"], "error: tile must be auto, a number of pixels or null, not big"),
        (["input=.", "image_side=0"], "error: image_side must be training, a number of pixels or null, not 0"),
        (["input=.", "tta.scales=[]"], "error: tta.scales must be factors from 0.05 to 20"),
        (["input=.", "tta.scales=[-1]"], "error: tta.scales must be factors from 0.05 to 20"),
        (["input=.", "batch_size=0"], "error: batch_size must be at least 1, not 0"),
        (["input=.", "frame_step=0"], "error: frame_step must be at least 1, not 0"),
        (["input=.", "opacity=2"], "error: opacity must be within 0..1, not 2"),
        (["input=.", "memory=0"], "error: memory must be more than 0 GiB"),
        (["input=.", "voc_submission=true"], "error: voc_submission=true takes its images from voc.root"),
        (["voc_submission=true"], "error: voc_submission=true takes its images from voc.root"),
    ],
)
def test_wrong_keys_are_one_line(refusal, arguments, message):
    assert refusal(*arguments).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["accelerator=tpu"], "error: accelerator must be one of auto, cpu, gpu, not 'tpu'"),
        (["precision=8"], "error: precision must be one of"),
        (["tile=50"], "error: tile=50 leaves nothing between margins"),
        (["+colour=red"], "error: there is no key colour"),
    ],
)
def test_what_the_net_or_the_machine_refuses(refusal, photos, arguments, message):
    assert refusal(f"input={photos}", *arguments).startswith(message)


def test_a_missing_checkpoint_is_named(refusal, photos):
    assert "no checkpoint and no run folder nosuch.ckpt" in refusal(f"input={photos}", checkpoint="nosuch.ckpt")


# ---- VOC's server


def test_a_list_becomes_an_archive_that_was_checked(predict, submitting):
    root, checkpoint = submitting
    keys = ["voc_submission=true", f"voc.root={root}", "voc.split=val", "voc.competition=comp5"]
    status, folder, out, _ = predict(*keys, checkpoint=checkpoint)
    assert status == 0
    assert "results.tgz: valid, 2 masks of voc.split=val for comp5; the server evaluates voc.split=test alone" in out
    with tarfile.open(folder / "archive" / "results.tgz") as archive:
        names = archive.getnames()
    assert names == [f"results/VOC2012/Segmentation/comp5_test_cls/2012_00000{number}.png" for number in (3, 4)]


def test_without_every_mask_there_is_no_archive(predict, submitting, tmp_path):
    root = write_devkit(tmp_path / "VOCdevkit")
    (root / "VOC2012" / "JPEGImages" / "2012_000003.jpg").write_bytes(b"")
    keys = ["voc_submission=true", f"voc.root={root}", "voc.split=val"]
    status, folder, out, _ = predict(*keys, checkpoint=submitting[1])
    assert status == 1
    assert "no archive was written, for the server wants a mask of every image" in out
    assert not (folder / "archive").exists()


def test_another_nets_labels_do_not_go_to_the_server(refusal, submitting):
    message = refusal("voc_submission=true", f"voc.root={submitting[0]}", "voc.split=val")
    assert "needs a net trained on VOC's 21 classes" in message


# ---- a process of its own


@pytest.mark.slow
def test_the_command_line_prints_help_and_predicts(training, photos, tmp_path):
    done = run("predict", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "voc_submission=true" in done.stdout
    arguments = [f"checkpoint={training}", "input=photos/ä 図.png", "output=o (1)", "accelerator=cpu"]
    done = run("predict", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert mask(tmp_path / "o (1)", "ä 図").shape == picture(0)[1].shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o (1)", "photos"]


@pytest.mark.slow
def test_predictions_are_those_that_validation_scores(submitting, tmp_path, predict):
    root, checkpoint = submitting
    _, folder, *_ = predict(f"input={root}/VOC2012/JPEGImages", checkpoint=checkpoint)
    results = json.loads((checkpoint / "results.json").read_text())
    matrix = np.zeros((21, 21), int)
    for number in (3, 4):
        truth = picture(number)[1]
        valid = truth != 255
        np.add.at(matrix, (truth[valid], mask(folder, f"2012_{number:06d}")[valid]), 1)
    assert matrix.tolist() == results["confusion_matrix"]
