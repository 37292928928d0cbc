"""The archive for VOC's server: what is in it, and what its check finds."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.voc import CLASSES
from fcnseg.prediction.submission import check_archive, check_net, split_inputs, write_archive
from tiny_voc import SIZES, write_devkit, write_list, write_mask

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@pytest.fixture
def devkit(tmp_path):
    """A devkit with a test list of images without masks."""
    root = write_devkit(tmp_path / "VOCdevkit")
    write_list(root / "VOC2012", "test", ["2012_000000", "2012_000001"])
    (root / "VOC2012" / "SegmentationClass" / "2012_000000.png").unlink()
    return root


@pytest.fixture
def images(devkit):
    return {item.name: item.path for item in split_inputs(str(devkit), "2012", "test").items}


def masks(folder, images):
    files = {}
    for number, name in enumerate(images):
        files[name] = folder / f"{name}.png"
        write_mask(files[name], np.full(SIZES[number], 20, np.uint8))
    return files


def test_the_list_needs_no_masks(images):
    assert list(images) == ["2012_000000", "2012_000001"]


def test_missing_images_are_counted(devkit):
    write_list(devkit / "VOC2012", "test", ["2012_000000", "2012_9"])
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 images of voc.split=test are not in .*: 2012_9;"):
        split_inputs(str(devkit), "2012", "test")
    with pytest.raises(FileNotFoundError, match="there is no list"):
        split_inputs(str(devkit), "2012", "nosuch")


def test_the_archive_is_as_the_server_wants_it(tmp_path, images):
    path = tmp_path / "results.tgz"
    write_archive(path, masks(tmp_path, images), "2012", "comp6")
    with tarfile.open(path, "r:gz") as archive:
        assert archive.getnames() == [f"{FOLDER}/{name}.png" for name in images]
        assert {info.mtime for info in archive} == {0}
        with Image.open(archive.extractfile(f"{FOLDER}/2012_000001.png")) as mask:
            assert (mask.mode, mask.size) == ("P", SIZES[1][::-1])
            assert mask.getpalette()[60:63] == [0, 64, 128]
    assert check_archive(path, images, "2012", "comp6") == []


def test_the_competition_names_the_folder(tmp_path, images):
    write_archive(tmp_path / "a.tgz", masks(tmp_path, images), "2012", "comp5")
    assert check_archive(tmp_path / "a.tgz", images, "2012", "comp5") == []
    faults = check_archive(tmp_path / "a.tgz", images, "2012", "comp6")
    assert len(faults) == 3
    assert "does not belong there" in faults[0]
    assert faults[-1] == f"2 masks are missing: {FOLDER}/2012_000000.png, {FOLDER}/2012_000001.png"


def grey(path, size):
    Image.fromarray(np.zeros(size, np.uint8)).save(path)


def other_colours(path, size):
    picture = Image.fromarray(np.zeros(size, np.uint8))
    picture.putpalette([7] * 768)
    picture.save(path)


FAULTS = {
    "mode": (grey, "2012_000001.png is a PNG of mode L instead of a PNG of mode P"),
    "size": (lambda path, size: write_mask(path, np.zeros((5, 4), np.uint8)), "is 4x5, its image 48x72"),
    "label": (lambda path, size: write_mask(path, np.full(size, 21, np.uint8)), "holds label 21; VOC's are 0..20"),
    "void": (lambda path, size: write_mask(path, np.full(size, 255, np.uint8)), "holds label 255"),
    "colours": (other_colours, "has other colours than VOC's"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_mask_that_is_wrong_is_found(tmp_path, images, kind):
    files = masks(tmp_path, images)
    damage, said = FAULTS[kind]
    damage(files["2012_000001"], SIZES[1])
    write_archive(tmp_path / "a.tgz", files, "2012", "comp6")
    (fault,) = check_archive(tmp_path / "a.tgz", images, "2012", "comp6")
    assert said in fault


def test_a_missing_mask_and_one_too_many_are_found(tmp_path, images):
    files = masks(tmp_path, images)
    files["other"] = files.pop("2012_000000")
    write_archive(tmp_path / "a.tgz", files, "2012", "comp6")
    assert check_archive(tmp_path / "a.tgz", images, "2012", "comp6") == [
        f"{FOLDER}/other.png does not belong there",
        f"1 masks are missing: {FOLDER}/2012_000000.png",
    ]


def test_links_and_repeated_members_do_not_count(tmp_path, images):
    link, twice = tarfile.TarInfo(f"{FOLDER}/2012_000000.png"), tarfile.TarInfo(f"{FOLDER}/2012_000001.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    content = masks(tmp_path, images)["2012_000001"].read_bytes()
    twice.size = len(content)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.addfile(link)
        archive.addfile(twice, io.BytesIO(content))
        archive.addfile(twice, io.BytesIO(content))
    faults = check_archive(tmp_path / "a.tgz", images, "2012", "comp6")
    assert [fault.split("/")[-1] for fault in faults] == [
        "2012_000000.png does not belong there",
        "2012_000001.png does not belong there",
        "2012_000000.png",
    ]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut"])
def test_what_is_no_archive_is_refused(tmp_path, images, content):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tgz cannot be read as a \.tgz of PNGs"):
        check_archive(tmp_path / "a.tgz", images, "2012", "comp6")


def test_only_nets_of_vocs_classes_and_known_competitions_go_there():
    check_net(21, CLASSES, "comp5")
    with pytest.raises(ValueError, match=r"voc\.competition must be comp5 or comp6, not 'comp7'"):
        check_net(21, CLASSES, "comp7")
    with pytest.raises(ValueError, match="needs a net trained on VOC's 21 classes; this one knows 2: a, b"):
        check_net(2, ["a", "b"], "comp6")
