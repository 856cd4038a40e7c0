"""Trees whose folders are links to another disk: every image counts, and no link leads in a circle."""

import os

import pytest

from tests.helpers import raw_models
from tests.helpers.raw_drives import build
from tests.unit.tfds_builders import test_fresh_trees, test_photos, test_sfxl, test_st_lucia
from tests.unit.tfds_builders.test_layouts import write
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import folders

TREES = {
    "aligned": lambda raw: write(
        raw, *(f"{s}/{n}.png" for s in ("summer", "winter") for n in "12")
    ),
    "sfxl": test_sfxl.write_sfxl,
    "photos": lambda raw: test_photos.twelve(raw / "trip"),
    "st_lucia": lambda raw: test_st_lucia.write_recording(raw, "190809_0845"),
    "robotcar_seasons": lambda raw: (
        raw_models.nvm(raw, test_fresh_trees.MADE)
        or raw_models.seasons(raw, test_fresh_trees.MADE, "night", first=100)
    ),
    **{
        name: test_fresh_trees.TREES[name] for name in ("nordland", "vpr_bench", "colmap", "boreas")
    },
}


@pytest.mark.parametrize("layout", TREES)
def test_a_linked_folder_is_read_as_any_other(tmp_path, capsys, layout):
    TREES[layout](tmp_path / "raw")
    more = {"protocol": test_fresh_trees.PROTOCOLS.get(layout, ""), "height": 12, "width": 16}
    assert build(tmp_path, layout, verb="validate", **more) == 0
    before = capsys.readouterr()
    (tmp_path / "disk").mkdir()
    linked = [path for path in (tmp_path / "raw").iterdir() if path.is_dir()]
    for path in linked:
        path.rename(tmp_path / "disk" / path.name)
        path.symlink_to(tmp_path / "disk" / path.name)
    assert linked and build(tmp_path, layout, verb="validate", **more) == 0
    after = capsys.readouterr()
    assert after.out == before.out
    assert test_fresh_trees.warnings(after.err) == test_fresh_trees.warnings(before.err)


def names_below(raw):
    return [path.relative_to(raw).as_posix() for path in folders.files_below(raw)]


def test_a_link_into_the_tree_adds_nothing(tmp_path):
    """To the folder itself, one above, the one that holds RAW, another of RAW, and to nothing."""
    write(tmp_path / "raw/a", "1.png")
    write(tmp_path / "raw/b", "2.png")
    for link, target in (
        ("a/self", "raw/a"),
        ("a/up", ""),
        ("a/to_b", "raw/b"),
        ("b/to_a", "raw/a"),
        ("latest", "raw/b"),
        ("gone", "raw/c"),
        ("me", "raw/me"),
    ):
        (tmp_path / "raw" / link).symlink_to(tmp_path / target)
    assert [n for n in names_below(tmp_path / "raw") if n not in ("gone", "me")] == [
        "a/1.png", "b/2.png",
    ]  # fmt: skip


def test_folders_elsewhere_that_link_to_each_other_are_read_once(tmp_path):
    count = 12
    for n in range(count):
        write(tmp_path / f"disk/{n:02d}", f"{n}.png")
    for n in range(count):
        for other in range(count):
            (tmp_path / f"disk/{n:02d}/to{other:02d}").symlink_to(tmp_path / f"disk/{other:02d}")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/day").symlink_to(tmp_path / "disk/03")
    found = names_below(tmp_path / "raw")
    assert sorted(int(name.split("/")[-1].removesuffix(".png")) for name in found) == [
        *range(count)
    ]
    for name in ("one", "two"):  # RAW's own links are both read: each is a split
        (tmp_path / f"raw/{name}").symlink_to(tmp_path / "disk/05")
    found = names_below(tmp_path / "raw")
    assert {"one/5.png", "two/5.png"} <= set(found)


def test_a_locked_folder_is_told(tmp_path, monkeypatch):
    """A file server's own folders may be locked; another one that is would be left out unseen."""
    scan = os.scandir

    def locked(folder):
        if os.path.basename(folder) in ("day", "lost+found"):
            raise PermissionError(folder)
        return scan(folder)

    monkeypatch.setattr(folders.os, "scandir", locked)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "#recycle/day").mkdir(parents=True)
    assert folders.files_below(tmp_path) == []
    (tmp_path / "day").mkdir()
    with pytest.raises(RawDataError, match="day may not be read; allow it, or move it away"):
        folders.files_below(tmp_path)
