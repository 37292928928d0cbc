"""TensorBoard's event files hold what W&B is told, under the same names."""

import csv
import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcnseg.tracking.tensorboard_tracker import confusion_picture
from killing import Killed, at, die
from runs import SMALL, trained

RUN = (*SMALL, "trainer.max_steps=4", "trainer.val_every=2", "logger=tensorboard")


def events(folder):
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(folder, *RUN, "loss.reduction=sum", "optimizer.lr=1e-10")
    return folder


def test_the_curves_are_those_of_metrics_csv(folder):
    found = events(folder)
    with (folder / "metrics.csv").open(newline="") as file:
        entries = list(csv.DictReader(file))
    for name in entries[0].keys() - {"step", "epoch"}:
        expected = [(int(entry["step"]), float(entry[name])) for entry in entries if entry[name]]
        assert np.allclose([(each.step, each.value) for each in found.Scalars(name)], expected, rtol=1e-5), name
    assert {"speed/images_per_s", "speed/data_wait", "memory/peak_gib"} <= set(found.Tags()["scalars"])


def test_a_summed_loss_is_also_given_per_pixel(folder):
    found = events(folder)
    summed, mean = found.Scalars("train/loss"), found.Scalars("train/loss_per_pixel")
    assert mean[0].value == pytest.approx(np.log(21), rel=1e-3)  # score layers start at zero
    assert summed[0].value > 100 * mean[0].value


def test_pictures_of_the_same_images_at_every_validation(folder):
    found = events(folder)
    names = [name for name in found.Tags()["images"] if name.startswith("val/images/")]
    assert len(names) == 5
    assert [each.step for each in found.Images(names[0])] == [1, 3]
    picture = Image.open(io.BytesIO(found.Images(names[0])[0].encoded_image_string))
    assert picture.size == (4 * 48, 32)
    assert "val/confusion_matrix" in found.Tags()["images"]


def test_the_run_says_what_it_was(folder):
    found = events(folder)
    (facts,) = found.Tensors("run/text_summary")
    text = facts.tensor_proto.string_val[0].decode()
    assert '"data_fingerprint"' in text
    assert '"max_steps": 4' in text
    (table,) = found.Tensors("val/predictions/text_summary")
    assert "| mean IU |" in table.tensor_proto.string_val[0].decode()


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_without_a_step_twice(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at(patch, "on_train_batch_start", 4, die)  # after three steps
        with pytest.raises(Killed):
            trained(tmp_path, *RUN)
    trained(tmp_path, *RUN)
    found = events(tmp_path)
    assert [each.step for each in found.Scalars("train/loss")] == [0, 1, 2, 3]
    assert [each.step for each in found.Scalars("val/mean_iu")] == [1, 3]
    assert len(found.Tensors("run/text_summary")) == 1


def test_a_confusion_matrix_is_dark_where_pixels_are():
    picture = confusion_picture([[8, 0, 0], [1, 3, 0], [0, 0, 0]])
    assert picture.shape == (36, 36, 3)
    assert (picture[0, 0, 0], picture[0, 12, 0], picture[12, 0, 0], picture[24, 24, 0]) == (0, 255, 127, 255)
