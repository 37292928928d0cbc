"""All inputs: batches of one size, broken files among them, and videos."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from fcnseg.fcn import FCN
from fcnseg.prediction.inputs import Item
from fcnseg.prediction.outputs import Outputs
from fcnseg.prediction.predictor import Predictor
from fcnseg.prediction.reading import Frames, View
from fcnseg.prediction.runner import Run
from fcnseg.prediction.tiling import Tiling

CLASSES = ("background", "disc", "square")


class Counted(Predictor):
    """Remembers the batches."""

    def predict(self, images, probabilities=False):
        self.batches = [*getattr(self, "batches", []), images.shape[:3]]
        return super().predict(images, probabilities)


@pytest.fixture(scope="module")
def net(narrow):
    torch.manual_seed(3)
    net = FCN(narrow("squeezenet")(), 3, 16)
    torch.nn.init.normal_(net.score_layers[0].weight, std=0.1)
    return net


@pytest.fixture
def prepare(net, tmp_path):
    """Returns a run into a new folder, and the inputs."""

    def prepare(sizes=(), image_side=None, side=10**6, **options):
        items = []
        for number, (height, width) in enumerate(sizes):
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
            items.append(Item(f"{number}", tmp_path / f"{number}.png"))
            Image.fromarray(pixels).save(items[-1].path)
        folder = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        folder.mkdir()
        predictor = Counted(net, Tiling(side, 16, 16))
        return Run(predictor, View(image_side, 3), Outputs(folder, CLASSES, True, 0.5), **options), items

    return prepare


def masks(run):
    return {path.stem: np.array(Image.open(path)) for path in sorted((run.outputs.folder / "masks").rglob("*.png"))}


SIZES = [(40, 60), (50, 50), (40, 60), (40, 60), (50, 50)]


def test_images_of_one_size_go_together_and_give_the_same(prepare):
    together, items = prepare(SIZES, batch_size=2)
    together.predict(items)
    alone, _ = prepare(batch_size=1)
    alone.predict(items)
    assert sorted(together.predictor.batches) == [(1, 40, 60), (2, 40, 60), (2, 50, 50)]
    assert [batch[0] for batch in alone.predictor.batches] == [1] * 5
    assert masks(together).keys() == masks(alone).keys() == set("01234")
    for name, mask in masks(alone).items():
        np.testing.assert_array_equal(masks(together)[name], mask)
        assert mask.shape == SIZES[int(name)]
    assert together.done == {str(item.path): item.name for item in items}


def test_few_images_wait(prepare):
    run, items = prepare([(30 + number, 30) for number in range(20)], batch_size=2)
    largest = 0
    for item in items:
        run._predict_image(item)
        largest = max(largest, sum(map(len, run._waiting.values())))
    assert largest == 7


def test_images_that_are_cut_do_not_wait(prepare):
    run, items = prepare([(40, 60)] * 2, side=50, batch_size=2)
    run.predict(items)
    assert [batch[0] for batch in run.predictor.batches] == [1, 1]


def test_masks_have_the_size_of_the_image(prepare):
    run, items = prepare([(40, 60), (100, 30)], image_side=32, probabilities=True)
    run.predict(items)
    assert [mask.shape for mask in masks(run).values()] == [(40, 60), (100, 30)]
    assert run.predictor.batches == [(1, 21, 32), (1, 32, 10)]
    with np.load(run.outputs.folder / "probabilities" / "0.npz") as content:
        assert content["probabilities"].shape == (3, 21, 32)
        assert content["size"].tolist() == [40, 60]


def test_a_broken_file_costs_itself_alone(prepare):
    said = []
    run, items = prepare([(40, 60)] * 3, batch_size=3, report=said.append)
    items[1].path.write_bytes(b"")
    run.predict(items)
    assert masks(run).keys() == {"0", "2"}
    assert list(run.skipped) == [str(items[1].path)]
    assert said == list(run.skipped.values())
    assert str(items[1].path) not in run.done


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            MemoryError(),
            "memory does not suffice for 2 images of 60x40 at once: set a smaller memory=, tile= or",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory does not suffice for 2 images"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "does not suffice"),
        (ValueError("the image is smaller than the kernel"), "0.png: the image is smaller than the kernel"),
    ],
)
def test_what_the_net_cannot_do_costs_these_images_alone(prepare, monkeypatch, error, said):
    run, items = prepare([(40, 60), (40, 60), (30, 30)], batch_size=2)
    predict = run.predictor.predict

    def refuse(images, probabilities):
        if images.shape[1] == 40:
            raise error
        return predict(images, probabilities)

    monkeypatch.setattr(run.predictor, "predict", refuse)
    run.predict(items)
    assert masks(run).keys() == {"2"}
    assert list(run.skipped) == [str(each.path) for each in items[:2]]
    assert said in run.skipped[str(items[0].path)]


def test_other_errors_are_not_taken_for_a_want_of_memory(prepare, monkeypatch):
    run, items = prepare([(40, 60)])

    def fail(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(run.predictor, "predict", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run.predict(items)


def test_a_full_disk_stops_everything(prepare):
    run, items = prepare([(40, 60)] * 2)
    (run.outputs.folder / "masks").touch()
    with pytest.raises(ValueError, match="cannot be written"):
        run.predict(items)
    assert run.skipped == {}


def write_video(path, frames):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 6, (64, 48))
    for number in range(frames):
        writer.write(np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()


@pytest.mark.parametrize(("step", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4])])
def test_a_video_becomes_masks_and_a_video(prepare, tmp_path, step, expected):
    import cv2

    write_video(tmp_path / "a.avi", 5)
    run, _ = prepare(frame_step=step)
    run.predict([Item("a.avi", tmp_path / "a.avi")])
    found = {path.name for path in (run.outputs.folder / "masks" / "a.avi").iterdir()}
    assert found == {f"{number:06d}.png" for number in expected}
    video = cv2.VideoCapture(str(run.outputs.folder / "overlays" / "a.avi.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (len(expected), 6 / step)
    assert run.skipped == {}


def test_frames_go_together_and_have_probabilities(prepare, tmp_path):
    write_video(tmp_path / "a.avi", 5)
    run, _ = prepare(batch_size=2, probabilities=True)
    run.predict([Item("a.avi", tmp_path / "a.avi")])
    assert [batch[0] for batch in run.predictor.batches] == [2, 2, 1]
    found = sorted(path.name for path in (run.outputs.folder / "probabilities" / "a.avi").iterdir())
    assert found == [f"{number:06d}.npz" for number in range(5)]


def test_what_was_read_before_a_video_breaks_is_predicted(prepare, tmp_path, monkeypatch):
    write_video(tmp_path / "a.avi", 3)
    opened = Frames.opened
    monkeypatch.setattr(Frames, "opened", lambda path: opened(path)._replace(announced=50))
    run, _ = prepare(batch_size=2)
    run.predict([Item("a.avi", tmp_path / "a.avi")])
    assert len(masks(run)) == 3
    assert "ends after 3 of the 50 frames" in run.skipped[str(tmp_path / "a.avi")]


def test_a_video_that_cannot_be_drawn_costs_itself_alone(prepare, tmp_path, monkeypatch):
    write_video(tmp_path / "a.avi", 3)
    unopened = SimpleNamespace(isOpened=lambda: False, release=lambda: None)
    monkeypatch.setattr("cv2.VideoWriter", mock.Mock(return_value=unopened))
    run, items = prepare([(40, 60)])
    run.predict([Item("a.avi", tmp_path / "a.avi"), *items])
    assert "cannot be written as a video: set overlays=false" in run.skipped[str(tmp_path / "a.avi")]
    assert run.done[str(items[0].path)] == "0"


def test_a_broken_video_is_skipped(prepare, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    run, items = prepare([(40, 60)])
    run.predict([Item("a.mp4", tmp_path / "a.mp4"), *items])
    assert "a.mp4 cannot be read as a video" in run.skipped[str(tmp_path / "a.mp4")]
    assert masks(run).keys() == {"0"}
