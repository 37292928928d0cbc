"""Table 1's structural rows come out of the code."""

import re
from argparse import Namespace

import pytest

from fcnseg import describe
from fcnseg.describe import PAPER, Measured, main, measure, notes, ours, paper


@pytest.fixture(scope="module")
def found():
    return {name: measure(name, 500, 0) for name in (*PAPER, "googlenet", "alexnet", "squeezenet")}


@pytest.mark.parametrize("name", PAPER)
def test_the_structural_rows_are_the_papers(name, found):
    numbers = paper()[name]
    assert float(ours(found[name], "parameters")) == pytest.approx(numbers["parameters"], abs=0.5)
    assert found[name].description.classifier_field == numbers["receptive_field"]
    assert found[name].description.conv_layers == numbers["conv_layers"]
    assert found[name].description.max_stride == numbers["max_stride"]


def test_the_papers_numbers_are_those_of_its_table():
    columns = zip(*(paper()[name].values() for name in PAPER), strict=True)
    assert dict(zip(paper()["vgg16"], columns, strict=True)) == {
        "mean_iu": (39.8, 56.0, 42.5),
        "forward_ms": (50, 210, 59),
        "conv_layers": (8, 16, 22),
        "parameters": (57, 134, 6),
        "receptive_field": (355, 404, 907),
        "max_stride": (32, 32, 32),
    }


def test_the_parameters_are_counted_to_the_last_one(found):
    assert found["caffenet"].description.parameters == 56_954_261
    assert found["vgg16"].description.parameters == 134_346_581


def test_receptive_fields_stand_with_and_without_the_pooling(found):
    assert ours(found["bvlc_googlenet"], "receptive_field") == "907 (715 in the FCN)"
    assert ours(found["googlenet"], "receptive_field") == "571 (379 in the FCN)"
    assert ours(found["vgg16"], "receptive_field") == "404"


def test_where_ours_differs_a_note_says_so(found):
    said = " ".join(notes([found["googlenet"], found["alexnet"]]))
    assert "not the paper's net, which is bvlc_googlenet" in said
    assert "not the paper's net, which is caffenet" in said
    assert not any("K40c" in note for note in notes([found["vgg16"]]))
    assert any("K40c" in note for note in notes([Measured("vgg16", found["vgg16"].description, 3.0)]))


def test_a_coarsest_stride_of_16_is_described_too(found):
    assert found["squeezenet"].description.max_stride == 16


def test_the_command_prints_ours_beside_the_papers(capsys):
    main(["--repeat", "0"])
    printed = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "8 | 8 │ 16 | 16 │ 22 | 22" in printed
    assert "57.0 | 57 │ 134.3 | 134 │ 6.0 | 6" in printed
    assert "355 | 355 │ 404 | 404 │" in printed


def test_the_forward_time_is_measured(capsys):
    main(["squeezenet", "--repeat", "1", "--side", "64"])
    found = re.search(r"forward time, ms\s*│\s*(\d+)", capsys.readouterr().out)
    assert found
    assert measure("squeezenet", 64, 1).forward_ms > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lenet"], "backbone.name=lenet is no backbone"),
        (["--side", "0"], "--side must be at least 1"),
        (["--device", "cuda"], "no CUDA GPU here"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, said, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    assert said in capsys.readouterr().err


def test_backbones_that_the_paper_lacks_have_no_second_number(found):
    laid = describe.table([found["squeezenet"]], paper(), Namespace(side=500, device="cpu"))
    assert not any("|" in cell for cell in laid.columns[1].cells)
