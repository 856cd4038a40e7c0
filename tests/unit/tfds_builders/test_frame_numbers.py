"""`aligned` reads the number that runs; hidden files are passed over with a count."""

import pathlib

import pytest

from tests.unit.tfds_builders.test_layouts import build, built, metadata, write
from tfds_builders.errors import RawDataError
from tfds_builders.places_csv.layouts import aligned, utm
from tfds_builders.places_csv.layouts.variant import Told


def positions(root: pathlib.Path, *names: str):
    """Warnings, and the frame numbers of each split, of empty files of these names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    told = Told()
    splits = aligned.read_aligned(root, told)
    return told.warnings, {name: [f.timestamp for f in frames] for name, frames in splits.items()}


STAMPS = ("1547120781640420", "1547120781702315", "1547120781764501")


@pytest.mark.parametrize(
    ("names", "which"),
    [
        ([f"{s}/frame_{i:04d}_640x480.png" for s in ("a", "b") for i in (1, 2, 3)], "first"),
        ([f"{s}/cam2_{i:04d}_v1.png" for s in ("a", "b") for i in (1, 2, 3)], "second"),
        # Both numbers run, and the folders share one alone.
        (
            [f"{s}/{i:04d}_{n}{STAMPS[i - 1]}.png" for n, s in enumerate("ab", 1) for i in (1, 2, 3)],
            "first",
        ),
        ([f"{s}/2019 Image{i:03d}.png" for s in ("a", "b") for i in (1, 2, 3)], ""),
        ([*(f"a/images-{i}.png" for i in (1, 2, 3)), *(f"b/{i:02d}_7.png" for i in (1, 2, 3))], "first"),
    ],
)  # fmt: skip
def test_the_number_that_runs(tmp_path, names, which):
    warnings, found = positions(tmp_path, *names)
    assert found == {"a": [1, 2, 3], "b": [1, 2, 3]}
    assert len(warnings) == bool(which)
    assert not which or f"is the {which} number in their names, 1 in " in warnings[0]


def test_one_query_is_numbered_as_its_map(tmp_path):
    names = [f"map/frame_{i:04d}_640x480.png" for i in (470, 480, 490)]
    _, found = positions(tmp_path, *names, "query/frame_0480_640x480.png")
    assert found == {"map": [470, 480, 490], "query": [480]}


def test_times_in_the_names_are_no_frames(tmp_path):
    names = [f"{s}/{n}{stamp[1:]}.png" for n, s in enumerate("ab", 1) for stamp in STAMPS]
    with pytest.raises(RawDataError, match=r"up to 2547120781764501, look like times") as caught:
        positions(tmp_path, *names)
    assert len(caught.value.problems) == 1 and "leave" not in str(caught.value)


def test_folders_without_a_common_number_are_told(tmp_path):
    names = [*(f"a/{i}.png" for i in (1, 2)), *(f"b/{i}.png" for i in (7, 8)), "c/2.png"]
    (warning,), _ = positions(tmp_path, *names)
    assert warning.startswith("b shares no frame number with another folder")


@pytest.mark.parametrize("layout", ["aligned", "utm"])
def test_no_image_is_left_out_in_silence(tmp_path, layout):
    name = {"aligned": "images-{}{}", "utm": "@1@{}@{}"}[layout]
    (tmp_path / "day").mkdir()
    for i, suffix in enumerate((".tif", ".TIFF", ".ppm", ".pgm", ".heic", ".jp2")):
        (tmp_path / "day" / name.format(i, suffix)).touch()
    told = Told()
    splits = {"aligned": aligned.read_aligned, "utm": utm.read_utm}[layout](tmp_path, told)
    assert len(splits["day"]) == 4
    assert told.warnings[0].startswith(
        "2 images in formats that are not read are passed over, e.g. day/"
    )


def test_no_advice_to_delete_sound_data(tmp_path):
    with pytest.raises(RawDataError) as caught:
        positions(tmp_path, "a/left_1.png", "a/right_1.png", "a/none.png")
    assert "give each image of a folder its own number" in str(caught.value)
    assert "none.png: the name holds no frame number; write one into it" in str(caught.value)
    assert "remove" not in str(caught.value)


HIDDEN = ("._{}", ".cache/{}", "@eaDir/{}/{}", "__MACOSX/summer/._{}")


@pytest.mark.parametrize("layout", ["aligned", "utm"])
def test_hidden_files_are_passed_over_with_a_count(tmp_path, layout):
    name = {"aligned": "images-1.png", "utm": "@1@2@.png"}[layout]
    root = tmp_path / "summer"
    for path in (name, *(hidden.replace("{}", name) for hidden in HIDDEN)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    told = Told()
    splits = {"aligned": aligned.read_aligned, "utm": utm.read_utm}[layout](tmp_path, told)
    assert [frame.source.name for frame in splits["summer"]] == [name] and len(splits) == 1
    (warning,) = told.warnings
    assert warning.startswith(
        "4 images in hidden files or a system's folders are passed over, e.g."
    )


def test_the_count_reaches_the_metadata(tmp_path):
    write(tmp_path / "raw", "a/frame_1_640x480.png", "a/frame_2_640x480.png", "a/.frame_2.png")
    assert build(tmp_path, "aligned") == 0
    assert [r["position"][0] for r in built(tmp_path, "a")] == [1, 2]
    passed, number = metadata(tmp_path)["warnings"]
    assert "1 images in hidden files" in passed and "is the first number" in number
