"""Files, folders, patterns and lists: which inputs, under which names, and what is refused."""

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fcnseg.prediction.inputs import find_inputs, quoted


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with images, a video and other things in it, which is the working directory."""
    for name in ("photos/b.jpg", "photos/a/ä 図.PNG", "photos/a/clip.MP4", "photos/notes.txt", "photos/.hidden.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(said, lines=(), apart="out"):
    from pathlib import Path

    return [item.name for item in find_inputs(str(said), lines, Path(apart)).items]


def test_a_file_is_named_as_it_is(place):
    assert names("photos/b.jpg") == ["b"]
    assert names(place / "photos" / "a" / "clip.MP4") == ["clip.MP4"]


def test_a_folder_keeps_its_names_and_passes_over_other_files(place):
    assert names("photos") == ["a/clip.MP4", "a/ä 図", "b"]
    found = find_inputs("photos", (), place / "out")
    assert found.passed_over == 1
    assert [item.is_video for item in found.items] == [True, False, False]


def test_a_pattern_names_from_its_first_wildcard_on(place):
    assert names("photos/*.jpg") == ["b"]
    assert names("photos/**/*") == ["a/clip.MP4", "a/ä 図", "b"]
    assert names(f"{place}/p*/a/*.PNG") == ["photos/a/ä 図"]


def test_a_list_names_from_the_common_folder_on(place):
    assert names("-", ["photos/b.jpg\n", "\n", f"{place}/photos/a/ä 図.PNG\r\n"]) == ["b", "a/ä 図"]
    assert names("-", ["photos/b.jpg"]) == ["b"]
    assert names("-", ["photos/gone.jpg", "elsewhere/gone.jpg"]) == ["photos/gone", "elsewhere/gone"]


def test_outputs_are_no_inputs(place):
    (place / "photos" / "out" / "overlays").mkdir(parents=True)
    (place / "photos" / "out" / "overlays" / "b.jpg").touch()
    assert "out/overlays/b" in names("photos")
    for said in ("photos", "photos/**/*.jpg"):
        assert not [name for name in names(said, apart="photos/out") if "overlays" in name]


def test_outputs_are_taken_neither_from_lists_nor_by_name_nor_through_links(place):
    (place / "out" / "overlays").mkdir(parents=True)
    (place / "out" / "overlays" / "b.jpg").touch()
    (place / "link").symlink_to("out")
    assert names("-", ["out/overlays/b.jpg", "photos/b.jpg", "link/overlays/b.jpg"]) == ["photos/b"]
    assert names("photos/../*/**/*.jpg") == ["photos/b"]
    with pytest.raises(ValueError, match=r"input=out/overlays/b\.jpg lies in the folder of the outputs, out"):
        names("out/overlays/b.jpg")


def test_links_that_go_in_circles_end(place):
    (place / "photos" / "again").symlink_to(place / "photos")
    (place / "photos" / "own.jpg").symlink_to("own.jpg")
    assert names("photos") == ["a/clip.MP4", "a/ä 図", "b", "own"]


@pytest.mark.parametrize("second", ["b.png", "b.JPG"])
def test_two_inputs_of_one_output_are_refused(place, second):
    (place / "photos" / second).touch()
    with pytest.raises(ValueError, match=r"would both become b: rename one"):
        names("photos")


def test_a_folder_of_the_name_of_a_video_is_refused(place):
    (place / "photos" / "film.mp4").mkdir()
    (place / "photos" / "film.mp4" / "000000.jpg").touch()
    (place / "photos" / "new").mkdir()
    assert "film.mp4/000000" in names("photos")
    with pytest.raises(ValueError, match=r"lies in a folder of the name that the frames of film.mp4 get"):
        names("-", ["photos/film.mp4/000000.jpg", "photos/film.mp4"])


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ("nosuch.jpg", FileNotFoundError, "input=nosuch.jpg is no file and no folder"),
        ("photos/*.gif", FileNotFoundError, r"no file fits input=photos/\*.gif"),
        ("empty", ValueError, "input=empty holds no image and no video: name a file, a folder"),
        ("-", ValueError, "the list on standard input is empty"),
    ],
)
def test_nothing_to_predict_is_refused(place, said, error, message):
    (place / "empty").mkdir()
    with pytest.raises(error, match=message):
        names(said)


@pytest.mark.parametrize(
    "path", ["a b.jpg", "wie schön, ja (1).jpg", "it's.jpg", "a\\'b", "end\\", "[x]{y}=z,w", "p/*.jpg", "図#&~%"]
)
def test_a_path_of_any_characters_comes_through_the_command_line(path):
    (override,) = OverridesParser.create().parse_overrides([quoted(f"input={path}")])
    assert override.value() == path


@pytest.mark.parametrize("word", ["tile=512", "input='a b'", 'output="x"', "input=", "--help", "tta.scales=[1,2]"])
def test_other_words_stay(word):
    assert quoted(word) == word


def test_a_name_that_is_no_text_is_found(place):
    (place / "bytes").mkdir()
    os.close(os.open(b"bytes/\xff.jpg", os.O_CREAT))
    assert len(names("bytes")) == 1
