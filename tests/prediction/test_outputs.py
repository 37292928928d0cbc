"""Files of predictions: palette PNGs, overlays, probabilities, videos, and folders that are not mixed."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from fcnseg.prediction.outputs import Outputs, OverlayVideo, open_folder
from fcnseg.prediction.reading import BrokenInputError
from tiny_voc import voc_palette

CLASSES = ("background", "aeroplane", "bicycle", "bird")
IMAGE = np.full((40, 300, 3), 200, np.uint8)


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "out", CLASSES, overlays=True, opacity=0.5)


def labels():
    found = np.zeros(IMAGE.shape[:2], np.uint8)
    found[:, 100:200], found[:, 200:] = 1, 3
    return found


def test_masks_are_vocs_to_the_byte(outputs):
    outputs.write("a/b", IMAGE, labels(), None)
    with Image.open(outputs.folder / "masks" / "a" / "b.png") as mask:
        assert (mask.format, mask.mode) == ("PNG", "P")
        assert mask.getpalette() == voc_palette()
        np.testing.assert_array_equal(np.asarray(mask), labels())
    assert outputs.written == 1
    assert not (outputs.folder / "probabilities").exists()


def test_an_overlay_shows_the_image_its_classes_and_their_names(outputs):
    outputs.write("b", IMAGE, labels(), None)
    with Image.open(outputs.folder / "overlays" / "b.jpg") as picture:
        assert picture.width == 300
        assert picture.height > 40
        drawn = np.asarray(picture)
    np.testing.assert_allclose(drawn[20, [50, 150, 250]], [(200,) * 3, (164, 100, 100), (164, 164, 100)], atol=4)
    legend = drawn[42:].reshape(-1, 3).astype(int)
    for label in (1, 3):
        colour = voc_palette()[3 * label : 3 * label + 3]
        assert (np.abs(legend - colour).max(1) < 12).sum() > 50
    assert not (np.abs(legend - voc_palette()[6:9]).max(1) < 12).any()


def test_an_image_of_background_has_no_legend(outputs):
    outputs.write("b", IMAGE, np.zeros((40, 300), np.uint8), None)
    with Image.open(outputs.folder / "overlays" / "b.jpg") as picture:
        assert picture.size == (300, 40)


def test_overlays_can_be_left_out(tmp_path):
    Outputs(tmp_path, CLASSES, overlays=False, opacity=0.5).write("b", IMAGE, labels(), None)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_probabilities_stand_beside_the_names_of_the_classes(outputs):
    shares = np.random.default_rng(0).random((4, 10, 75)).astype(np.float16)
    outputs.write("b", IMAGE, labels(), shares)
    with np.load(outputs.folder / "probabilities" / "b.npz", allow_pickle=False) as content:
        np.testing.assert_array_equal(content["probabilities"], shares)
        assert content["classes"].tolist() == list(CLASSES)
        assert content["size"].tolist() == [40, 300]


def test_labels_beyond_a_byte_are_grey_values_of_16_bits(outputs):
    outputs.write_mask("b", np.full((3, 4), 299, np.int32))
    with Image.open(outputs.folder / "masks" / "b.png") as mask:
        assert np.asarray(mask).tolist() == [[299] * 4] * 3


def test_the_record_is_json_of_any_name(outputs):
    outputs.record({"skipped": {"a\udcff 図": "why"}})
    assert json.loads((outputs.folder / "predictions.json").read_text()) == {"skipped": {"a\udcff 図": "why"}}


# ---- folders


def test_a_new_or_empty_folder_is_taken(tmp_path):
    open_folder(tmp_path / "a" / "b", overwrite=False)
    open_folder(tmp_path / "a" / "b", overwrite=True)
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(tmp_path, overwrite):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "mine.png").touch()
    with pytest.raises(FileExistsError, match=r"was not written by fcnseg\.predict: choose another folder"):
        open_folder(tmp_path, overwrite)
    assert (tmp_path / "masks" / "mine.png").exists()


def test_earlier_predictions_are_replaced_when_asked_for(outputs):
    outputs.write("old", IMAGE, labels(), None)
    outputs.record({})
    (outputs.folder / "notes.txt").touch()
    with pytest.raises(FileExistsError, match=r"holds predictions already: .* or set overwrite=true"):
        open_folder(outputs.folder, overwrite=False)
    open_folder(outputs.folder, overwrite=True)
    assert {path.name for path in outputs.folder.iterdir()} == {"predictions.json", "notes.txt"}


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match=r"out cannot be written .*choose another folder"):
        open_folder(tmp_path / "out", overwrite=True)


# ---- videos


def test_a_video_of_overlays_has_an_even_size_and_every_frame(tmp_path):
    path = tmp_path / "a" / "clip.mp4"
    with OverlayVideo(path, 5, {1: "aeroplane"}) as video:
        for grey in (50, 200):
            video.add(np.full((41, 201, 3), grey, np.uint8))
    reader = cv2.VideoCapture(str(path))
    frames = [reader.read()[1] for _ in range(2)]
    assert reader.get(cv2.CAP_PROP_FPS) == 5
    assert not reader.read()[0]
    assert frames[0].shape[1] == 202
    assert all(side % 2 == 0 for side in frames[0].shape[:2])
    assert [abs(int(frame[20, 100, 0]) - grey) < 8 for frame, grey in zip(frames, (50, 200), strict=True)] == [True] * 2


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    with (
        pytest.raises(BrokenInputError, match=r"clip\.mp4 of .* cannot be written as a video: set overlays=false"),
        OverlayVideo(tmp_path / "clip.mp4", 5, {}) as video,
    ):
        video.add(np.zeros((16, 16, 3), np.uint8))
