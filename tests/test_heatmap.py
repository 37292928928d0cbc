"""The convolutionalised classifier's heatmap over a photograph."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fcnseg import heatmap
from fcnseg.classifier import create_classifier
from fcnseg.heatmap import class_number, main, parsed, photograph, side_by_side


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A SqueezeNet whose class 3 answers to red and nothing else."""
    net = create_classifier("squeezenet")
    state = {name.removeprefix("backbone."): torch.zeros_like(value) for name, value in net.state_dict().items()}
    state = {name.replace("last.", "conv10."): value for name, value in state.items()}
    for name, value in state.items():
        if name.endswith("weight"):
            value[0, 0] = 0.01 if name == "conv1.weight" else 1.0 / value[0, 0].numel()
    state["conv10.weight"].zero_()
    state["conv10.weight"][3, 0] = 50.0
    path = tmp_path_factory.mktemp("weights") / "red.safetensors"
    save_file(state, path, {"normalization": "torchvision"})
    return path


@pytest.fixture
def photo(tmp_path):
    pixels = np.zeros((260, 420, 3), np.uint8)
    pixels[:, 300:, 0] = 255
    path = tmp_path / "red to the right.png"
    Image.fromarray(pixels).save(path)
    return path


def run(*words):
    main([*words, "backbone=squeezenet"])


def test_the_map_is_bright_where_the_class_is(photo, weights, tmp_path, capsys):
    run(f"image={photo}", "class=3", f"weights={weights}", f"output={tmp_path / 'new' / 'map.png'}")
    picture = np.asarray(Image.open(tmp_path / "new" / "map.png"), dtype=int)
    assert picture.shape == (260, 2 * 420 + 8, 3)
    assert np.array_equal(picture[:, :420], np.asarray(Image.open(photo)))
    assert picture[130, -10].sum() > picture[130, 420 + 8 + 40].sum() + 200
    printed = capsys.readouterr().out
    assert "tiger shark: probability" in printed
    assert f"heatmap       {tmp_path / 'new' / 'map.png'}" in printed


def test_the_picture_is_named_after_image_and_class(photo, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(f"image={photo}", "class=tiger shark", f"weights={weights}")
    assert (tmp_path / "red to the right_tiger-shark.png").is_file()


def test_the_image_can_be_enlarged_first(photo, weights, capsys, tmp_path):
    run(f"image={photo}", "class=3", f"weights={weights}", "side=840", f"output={tmp_path / 'map.png'}")
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.size == (2 * 840 + 8, 520)


# ---- classes


def test_classes_go_by_number_name_or_part_of_a_name():
    assert class_number(3) == class_number("3") == class_number("Tiger Shark") == class_number("tiger sh") == 3
    assert class_number("tabby") == 281


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("shark", r"may be great white shark \(2\), tiger shark"),
        ("unicorn", "no class of ImageNet"),
        (1000, "no class"),
    ],
)
def test_classes_that_are_not_one_are_refused(said, message):
    with pytest.raises(ValueError, match=message):
        class_number(said)


# ---- what cannot be


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image=a.png"], "class must be set"),
        (["class=3"], "image must be set"),
        (["image=a.png", "class=3", "colour=red"], "colour=red is no KEY=VALUE; the keys are image, class"),
    ],
)
def test_words_are_checked(words, message):
    with pytest.raises(ValueError, match=message):
        parsed(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image=gone.png", "class=3"], "there is no image gone.png"),
        (["image={text}", "class=3"], "cannot be read as an image"),
        (["image={photo}", "class=3", "side=0"], "side must be a number of pixels"),
        (["image={photo}", "class=3", "side=50"], "pixels that the classifier needs on each side: enlarge it"),
        (["image={photo}", "class=3", "weights={text}"], "no weights file that can be read"),
        (["image={photo}", "class=3", "side=large"], "side=large cannot be read"),
        (["image={photo}", "class=3", "padding=valid"], "padding=valid cannot be read"),
        (["image={photo}", "class=3", "padding=-1"], "backbone.padding must be"),
        (["image=[cat", "class=3"], "there is no image [cat"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words, message, photo, weights, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("no picture")
    filled = [word.format(photo=photo, text=tmp_path / "text.txt") for word in words]
    with pytest.raises(SystemExit) as stopped:
        run(f"weights={weights}", *filled)
    assert stopped.value.code == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_remedies_name_the_keys_of_this_command(photo, tmp_path, capsys):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "mute.safetensors")
    with pytest.raises(SystemExit):
        run(f"image={photo}", "class=3", f"weights={tmp_path / 'mute.safetensors'}")
    printed = capsys.readouterr().err
    assert "set normalization=caffe or torchvision, and mean=" in printed
    assert "backbone." not in printed


def test_help_names_every_key(capsys):
    main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"{key}=" in printed for key in heatmap.KEYS)


# ---- pictures


def test_photographs_are_turned_as_their_camera_says(tmp_path):
    picture = Image.new("RGB", (30, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert photograph(tmp_path / "turned.jpg", None).shape == (30, 20, 3)


def test_nothing_anywhere_is_drawn_dark():
    pixels = np.full((4, 5, 3), 200, np.uint8)
    picture = np.asarray(side_by_side(pixels, np.zeros((4, 5))))
    assert (picture[:, 13:] == 35).all()
