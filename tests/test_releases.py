"""What can be downloaded, and what counts as complete."""

import re
from dataclasses import replace

import pytest

from fcnseg.disk import check_checksum
from fcnseg.releases import RELEASES, check_complete


def write_release(home, release, ids=("a1", "b2", "c3"), endings=None):
    """Writes a folder with the lists and files that a release is made of."""
    for number, name in enumerate(release.lists):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("".join(f"{one}\n" for one in ids[number::2]))
    for pattern in release.files:
        for one in ids:
            path = home / pattern.replace("*", one)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return home


@pytest.fixture(params=RELEASES)
def release(request):
    return replace(RELEASES[request.param], ids=3)


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_is_guarded_by_size_and_checksum(name):
    release = RELEASES[name]
    check_checksum(release.checksum)
    assert release.size > 10**9
    assert release.urls[0].startswith("https://")
    assert all(re.fullmatch(rf"https?://\S+/{re.escape(release.archive)}", url) for url in release.urls)
    assert len({url.split("/")[2] for url in release.urls}) == len(release.urls) > 1
    assert release.inner.startswith(release.home)


def test_a_complete_folder_is_complete(tmp_path, release):
    check_complete(release, write_release(tmp_path / "home", release))


def test_a_missing_list_is_named(tmp_path, release):
    home = write_release(tmp_path / "home", release)
    (home / release.lists[1]).unlink()
    with pytest.raises(ValueError, match=rf"home is not complete, it has no {release.lists[1]}: remove the folder"):
        check_complete(release, home)


def test_a_part_of_the_set_is_told_from_the_whole(tmp_path, release):
    home = write_release(tmp_path / "home", release, ids=("a1", "b2"))
    with pytest.raises(ValueError, match="home is a part only, 2 images of 3"):
        check_complete(release, home)


@pytest.mark.parametrize("which", [0, 1])
def test_missing_files_are_counted_and_one_is_named(tmp_path, release, which):
    home = write_release(tmp_path / "home", release)
    for one in ("c3", "b2"):
        (home / release.files[which].replace("*", one)).unlink()
    named = re.escape(release.files[which].replace("*", "b2"))
    with pytest.raises(ValueError, match=f"2 files such as {named} are missing"):
        check_complete(release, home)


def test_the_small_real_trees_have_the_layout_of_the_releases(data_root):
    for release in RELEASES.values():
        home = data_root / release.inner
        part = replace(release, ids=sum(len((home / name).read_text().split()) for name in release.lists))
        check_complete(part, home)
