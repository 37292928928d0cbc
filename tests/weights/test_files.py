"""Files of tensors: what was written comes back, and nothing that a file carries is ever run."""

import pickle
import random
import struct

import pytest
import torch
from safetensors.torch import save_file

from fcnseg.weights.files import PICKLED, read_checkpoint, read_tensors
from payload import Payload


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "conv1.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv1.bias": torch.arange(4, dtype=torch.float64),
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_safetensors_give_back_tensors_and_metadata(tensors, tmp_path):
    file = tmp_path / "net.safetensors"
    save_file(tensors, file, {"normalization": "caffe"})
    found, metadata = read_tensors(file)
    assert_same(found, tensors)
    assert metadata == {"normalization": "caffe"}


def test_safetensors_without_metadata_have_none(tensors, tmp_path):
    file = tmp_path / "net.safetensors"
    save_file(tensors, file)
    assert read_tensors(file)[1] == {}


@pytest.mark.parametrize("ending", PICKLED)
def test_state_dicts_of_torch_come_back(tensors, ending, tmp_path):
    file = tmp_path / f"net{ending}"
    torch.save(tensors, file)
    found, metadata = read_tensors(file)
    assert_same(found, tensors)
    assert metadata == {}


def test_a_checkpoint_counts_as_the_tensors_in_it(tensors, tmp_path):
    file = tmp_path / "run.ckpt"
    torch.save({"state_dict": tensors, "global_step": 7}, file)
    assert_same(read_tensors(file)[0], tensors)
    assert read_checkpoint(file)["global_step"] == 7


def test_what_is_no_tensor_is_left_out(tensors, tmp_path):
    file = tmp_path / "net.pt"
    torch.save(tensors | {"epoch": 3, "classes": ["cat", "dog"]}, file)
    assert_same(read_tensors(file)[0], tensors)


@pytest.mark.parametrize(("read", "ending"), [(read_tensors, ".safetensors"), (read_tensors, ".pt")])
def test_a_missing_file_is_named(read, ending, tmp_path):
    file = tmp_path / f"gone{ending}"
    with pytest.raises(FileNotFoundError, match=f"there is no weights file {file}"):
        read(file)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no checkpoint {tmp_path / 'gone.ckpt'}"):
        read_checkpoint(tmp_path / "gone.ckpt")


def test_other_endings_are_refused_with_those_that_can_be_read(tmp_path):
    file = tmp_path / "net.h5"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"net.h5 .* must end in one of .safetensors, .pt, .pth, .ckpt, .bin"):
        read_tensors(file)


@pytest.mark.parametrize("kept", [0, 3, 40, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_a_truncated_file_is_refused_by_name(ending, kept, tensors, tmp_path):
    file = tmp_path / f"net{ending}"
    save_file(tensors, file) if ending == ".safetensors" else torch.save(tensors, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(ValueError, match=f"{file}"):
        read_tensors(file)


def test_a_file_that_holds_no_dictionary_is_refused(tmp_path):
    file = tmp_path / "net.pt"
    torch.save([torch.zeros(2)], file)
    with pytest.raises(ValueError, match="holds a list, not a dictionary of tensors"):
        read_tensors(file)


@pytest.mark.parametrize("plain", [False, True])
def test_code_in_a_file_is_refused_and_never_run(plain, tensors, tmp_path):
    file, trace = tmp_path / "net.pt", tmp_path / "it_ran"
    content = tensors | {"extra": Payload(trace)}
    file.write_bytes(pickle.dumps(content, protocol=2)) if plain else torch.save(content, file)
    with pytest.raises(ValueError, match="or holds code, which is never run"):
        read_tensors(file)
    assert not trace.exists()
    if plain:
        pickle.loads(file.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_checkpoints_are_read_or_refused(legacy, tensors, tmp_path):
    file, draw = tmp_path / "net.pt", random.Random(0)
    torch.save(tensors, file, _use_new_zipfile_serialization=not legacy)
    content = file.read_bytes()
    for _ in range(250):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(changed)
        refused = ""
        try:
            read_checkpoint(file)
        except ValueError as error:
            refused = str(error)
        assert not refused or refused.startswith(str(file))


@pytest.mark.parametrize("error", [struct.error("unpack requires 4 bytes"), AssertionError()])
def test_whatever_torch_raises_is_a_refusal(error, tensors, tmp_path, monkeypatch):
    torch.save(tensors, tmp_path / "net.pt")

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ValueError, match=f"net.pt cannot be read .* Torch says {type(error).__name__}"):
        read_checkpoint(tmp_path / "net.pt")
