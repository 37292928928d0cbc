"""What goes wrong is said in one line, with what is left and what to do."""

import errno
import resource
import signal
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger

from fcnseg import build
from fcnseg.checkpoints import WholeFiles
from fcnseg.data.shapes import Shapes
from fcnseg.interruption import Stop
from fcnseg.resumption import Checkpoints
from fcnseg.task import SegmentationTask
from fcnseg.trouble import RunError, Witness, left, words
from runs import SMALL, composed, outcome, trained, unequal

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RUN = (*SMALL, "trainer.max_steps=3", "trainer.val_every=3", "trainer.save_steps=1")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
            "a loader worker (process 4711) was killed, most likely because memory ran out: set data.workers=2",
        ),
        (RuntimeError("DataLoader worker (pid(s) 17, 18) exited unexpectedly"), "a loader worker (process 17, 18) was"),
        (
            RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's"),
            "too little shared memory",
        ),
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"),
            "set data.workers=0, or give the container more",
        ),
        (
            RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
            "another process of this run has",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ValueError("Caught ValueError in worker.\nTraceback\nValueError: a.jpg is cut off"), "a.jpg is cut off"),
    ],
)
def test_known_errors_are_put_into_words(error, said):
    found = words(error, composed("data.workers=4"), Witness(), world_size=2)
    assert said in found
    assert "Traceback" not in found


def test_errors_that_nobody_foresaw_keep_their_traceback():
    for error in (
        RuntimeError("shape mismatch"),
        TypeError("no"),
        RuntimeError("igloo.pt is no file of tensors"),
        RuntimeError("out of resource: shared memory, Required: 147456, Hardware limit: 101376"),
    ):
        assert words(error, composed(), Witness(), world_size=2) is None


def test_only_where_there_are_several_processes_another_one_can_have_ended():
    gone = RuntimeError("[/gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    assert words(gone, composed(), Witness()) is None
    assert words(BrokenPipeError(errno.EPIPE, "Broken pipe"), composed(), Witness()) == "[Errno 32] Broken pipe"
    refused = "W&B cannot be reached: Connection refused"
    assert words(ValueError(refused), composed(), Witness(), world_size=2) == refused


def test_out_of_memory_tells_the_need_the_sizes_and_three_ways_out():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.34 GiB. GPU 0 has ...")
    said = words(error, composed("data.batch_size=8", "data.crop=400"), saw(8, 3, 400, 400))
    assert "too small to train on 8 images of 400x400 at once" in said
    assert "2.34 GiB was asked for" in said
    assert said.endswith(
        "Any of these needs less, and makes another run, which wants a new folder: trainer.precision=bf16-mixed, or "
        "data.batch_size=4 trainer.accumulate=2, or data.crop=300"
    )
    photos = composed("trainer.precision=bf16-mixed", "data.crop=null", "backbone.padding=100")
    assert words(error, photos, saw(1, 3, 375, 500)).endswith(
        "data.image_side=375, or backbone.padding=same, or model.train=head"
    )


def test_out_of_memory_in_a_validation_is_not_mended_by_what_training_needs():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.34 GiB. GPU 0 has ...")
    config = composed("data.batch_size=8", "data.crop=400", "backbone.padding=100")
    said = words(error, config, saw(1, 3, 375, 500, validating=True))
    assert "too small to validate 1 images of 500x375" in said
    assert said.endswith("trainer.precision=bf16-mixed, or data.image_side=375, or backbone.padding=same")


def saw(*shape, validating=False):
    witness, batch = Witness(), SimpleNamespace(images=torch.empty(shape, device="meta"))
    see = witness.on_validation_batch_start if validating else witness.on_train_batch_start
    see(Trainer(barebones=True), LightningModule(), batch, 0)
    return witness


def test_what_is_left_names_the_checkpoint_that_is_there(tmp_path):
    assert "There is no checkpoint yet" in left(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "previous.ckpt").touch()
    assert "previous.ckpt" in left(tmp_path)
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert "last.ckpt" in left(tmp_path)


# ---- in a training: the run stops in one line, and goes on to the same bits


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    trained(folder, *RUN)
    return outcome(folder)


def test_a_full_disk_while_a_checkpoint_is_written(tmp_path, monkeypatch, whole):
    """A limit on the size of files stands for the full disk: the kernel refuses in the middle of the file."""
    before, original = resource.getrlimit(resource.RLIMIT_FSIZE), Checkpoints._write

    def limited(self, trainer):
        if trainer.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        original(self, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_write", limited)
        try:
            with pytest.raises(RunError, match=r"last\.ckpt cannot be written \(File too large\): make room") as error:
                trained(tmp_path, *RUN)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "is whole; the same command goes on from there" in str(error.value)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 1
    trained(tmp_path, *RUN)
    assert unequal(outcome(tmp_path), whole) == []


class FullLogger(Logger):
    """Stands for a logger that is no tracker, such as metrics.csv, on a full disk."""

    name, version = "full", "0"

    def log_hyperparams(self, *arguments, **options):
        pass

    def log_metrics(self, metrics, step):
        if step == 1:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_another_logger_writes(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        original = build.build_loggers
        patch.setattr(build, "build_loggers", lambda *arguments: [*original(*arguments), FullLogger()])
        with pytest.raises(RunError, match=r"the disk is full .*No space left on device.* make room"):
            trained(tmp_path, *RUN)
    trained(tmp_path, *RUN)
    assert (
        unequal(outcome(tmp_path), whole | {"last": outcome(tmp_path)["last"], "best": outcome(tmp_path)["best"]}) == []
    )


class OfflineLogger(FullLogger):
    """Stands for a logger that fails otherwise than by the disk, at a step that a validation follows."""

    def log_metrics(self, metrics, step):
        if step == 2 and "train/loss" in metrics:  # steps count from 0 here
            raise RuntimeError("the service is gone")


def test_a_logger_that_fails_before_a_validation(tmp_path, monkeypatch, whole):
    """The checkpoint must not leave the validation out."""
    with monkeypatch.context() as patch:
        original = build.build_loggers
        patch.setattr(build, "build_loggers", lambda *arguments: [*original(*arguments), OfflineLogger()])
        with pytest.raises(RuntimeError, match="the service is gone"):
            trained(tmp_path, *RUN, "trainer.save_steps=null")
    trained(tmp_path, *RUN, "trainer.save_steps=null")
    assert unequal(outcome(tmp_path), whole) == []


def test_a_full_disk_while_the_best_checkpoint_is_written(tmp_path, monkeypatch, whole):
    """What is left must not count the validation as done."""
    original = WholeFiles.save_checkpoint

    def full(self, checkpoint, path, storage_options=None):
        if path.name == "best.ckpt":
            raise ValueError(f"{path} cannot be written (No space left on device): make room")
        original(self, checkpoint, path, storage_options)

    with monkeypatch.context() as patch:
        patch.setattr(WholeFiles, "save_checkpoint", full)
        with pytest.raises(RunError, match=r"best\.ckpt cannot be written"):
            trained(tmp_path, *RUN, "trainer.save_steps=null")
    trained(tmp_path, *RUN, "trainer.save_steps=null")
    assert unequal(outcome(tmp_path), whole) == []


def test_a_worker_that_ends_with_the_run_is_no_accident(tmp_path, monkeypatch, whole):
    """It was asked to end before it could begin to ignore that."""

    def end():
        signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 5) is killed by signal: Terminated. ")

    original, reads = Shapes.read, []

    def read(self, index):
        reads.append(1)
        return end() if len(reads) == 5 else original(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Shapes, "read", read)
        with pytest.raises(Stop, match="stopped at step 2") as stop:
            trained(tmp_path, *RUN, "trainer.save_steps=null")
    assert stop.value.status == 143
    trained(tmp_path, *RUN, "trainer.save_steps=null")
    assert unequal(outcome(tmp_path), whole) == []


def test_a_gpu_without_memory(tmp_path, monkeypatch):
    def full(self, batch, batch_index):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(SegmentationTask, "training_step", full)
    with pytest.raises(
        RunError, match=r"memory is too small to train on 2 images of 32x32 at once: .* 20\.00 MiB was asked for"
    ):
        trained(tmp_path, *RUN)
