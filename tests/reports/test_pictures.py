"""The qualitative grid: the same images in every row, small, and no photographs where they are unwanted."""

import base64
import io

import numpy as np
from PIL import Image

from fcnseg.reports.pictures import colours, examples, thumbnail
from sweeps import write_job, write_predictions


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_every_row_shows_the_same_images(summary):
    found = examples(summary, photographs=True)
    assert list(found) == ["2007_000033", "2007_000042"]
    cells = found["2007_000033"]
    assert [cell.column for cell in cells] == ["image", "truth", "32s", "16s", "8s"]
    assert cells[-1].uri is None  # this row saved none
    assert cells[2].uri != cells[3].uri
    assert (opened(cells[0].uri).format, opened(cells[1].uri).format) == ("JPEG", "PNG")


def test_photographs_can_be_left_out(summary):
    found = examples(summary, photographs=False)
    assert [cell.column for cell in found["2007_000033"]] == ["truth", "32s", "16s", "8s"]
    assert not any("jpeg" in (cell.uri or "") for cells in found.values() for cell in cells)


def test_thumbnails_are_small_and_masks_keep_their_labels(tmp_path):
    write_predictions(tmp_path, size=(600, 300))
    mask = opened(thumbnail(tmp_path / "predictions" / "truth" / "2007_000033.png"))
    assert (mask.size, mask.mode) == ((200, 100), "P")
    assert set(np.unique(mask)) <= {0, 1, 255}
    assert opened(thumbnail(tmp_path / "predictions" / "images" / "2007_000033.jpg")).size == (200, 100)


def test_a_damaged_picture_is_no_picture(summary, runs):
    for job in (runs / "small").iterdir():
        for path in (job / "predictions").glob("*.png"):
            path.write_bytes(b"no picture")
    cells = examples(summary, photographs=True)["2007_000033"]
    assert [cell.uri is None for cell in cells] == [False, False, True, True, True]


def test_colours_come_from_a_truth_that_can_be_read(summary, runs):
    expected = colours(summary, 2)
    assert len(expected) == 2
    first = sorted((summary.done(summary.rows[0])[0].folder / "predictions" / "truth").glob("*.png"))[0]
    first.write_bytes(first.read_bytes()[:20])
    assert colours(summary, 2) == expected


def test_ids_are_shown_as_they_were(experiment, tmp_path):
    from fcnseg.reports.summary import summarise

    write_predictions(write_job(tmp_path / "r" / "a", "8s"), names=("a%2Fb",))
    assert list(examples(summarise(experiment, tmp_path / "r"), photographs=True)) == ["a/b"]


def test_colours_are_those_of_the_masks(summary):
    assert colours(summary, 3) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
