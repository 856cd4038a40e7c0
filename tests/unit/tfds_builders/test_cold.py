"""COLD from raw trees in the real layout through the command line."""

import functools
import json
import re

import numpy as np
import pytest

import tests.helpers.raw_cold as raw
from tests.helpers import raw_places
from tests.helpers.commands import ROOT
from tests.helpers.raw_places import command, decoded, records, tree
from tfds_builders.cold import sequence
from tfds_builders.cold.cold_dataset_builder import PAPER, PAPER_COUNTS

ONE = "cold-saarbruecken/part_b/seq4_cloudy1"
TWO = "cold-saarbruecken/part_b/seq3_night2"
FIXTURES = ROOT.parent / "shared/real/fixtures"


def option(name="mine", **values) -> str:
    return f"--config={json.dumps({'name': name, 'sequences': {'train': ONE}} | values)}"


def build(root, *more, **values) -> int:
    return command("build", "cold", root / "raw", root / "out", option(**values), *more)


built = functools.partial(raw_places.built, builder="cold")
metadata = functools.partial(raw_places.metadata, builder="cold")


def test_records_of_a_sequence(tmp_path):
    files = raw.run(40)
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path) == 0
    found = records(built(tmp_path), "train")
    names, times = raw.names(40), raw.times(40)
    assert [r["image_id"].decode() for r in found] == [f"{ONE}/{name}" for name in names]
    assert [r["timestamp"] for r in found] == times.tolist()
    x, y, a = raw.pose(times)
    assert np.abs(np.stack([r["position"] for r in found]) - np.stack([x, y], 1)).max() < 1e-6
    assert np.abs([r["heading"] for r in found] - a).max() < 1e-6
    assert [r["label"].decode() for r in found] == [raw.room(i) for i in range(40)]
    assert [r["image"] for r in found] == [files[f"std_cam/{name}"] for name in names]
    notes = metadata(tmp_path)
    assert notes["pose_source"] == "laser localisation, from the file names"
    assert notes["counts"]["train"] == {"found": 40, "kept": 40, "dropped": {}}
    assert notes["sequences"] == {"train": ONE}


@pytest.mark.parametrize(
    "where",
    [
        f"{ONE}/",
        "seq4_cloudy1/",
        "cold-saarbruecken_part_b_seq4_cloudy1/",
        f"{ONE}.tar",
        f"{ONE}.zip",
        "COLD-Saarbrücken/Part-B/seq4_cloudy1.tar",
        "cold-saarbruecken_part_b_seq4_cloudy1.tar",
    ],
)
def test_wherever_it_lies_the_records_are_the_same(tmp_path, where):
    files = raw.run(7)
    raw.write_folder(tmp_path / f"plain/raw/{ONE}", files)
    assert build(tmp_path / "plain") == 0
    target = tmp_path / "raw" / where
    if where.endswith("/"):
        raw.write_folder(target, files)
    else:
        raw.write_archive(target, files, top="any_name")
    # Of another map and another run: never taken for it.
    raw.write_folder(tmp_path / "raw/cold-saarbruecken/part_a/seq4_cloudy1", raw.run(3, 1))
    raw.write_archive(tmp_path / "raw/cold-freiburg_part_b_seq4_cloudy1.tar", raw.run(3, 2))
    raw.write_archive(tmp_path / "raw/cold-saarbruecken/part_b/seq4_cloudy11.tar", raw.run(3, 3))
    assert build(tmp_path) == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "plain/out")


def test_manual_dir_may_be_the_folder_of_a_part(tmp_path):
    raw.write_folder(tmp_path / "cold-saarbruecken/part_b/seq4_cloudy1", raw.run(3))
    for part, expected in {"b": 0, "a": 2}.items():
        config = option(
            f"part_{part}", sequences={"train": f"saarbruecken/part_{part}/seq4_cloudy1"}
        )
        folder = tmp_path / "cold-saarbruecken/part_b"
        assert command("build", "cold", folder, tmp_path / "out", config) == expected


def test_the_papers_splits_and_counts(tmp_path, capsys):
    for seed, name in enumerate(PAPER.values()):
        raw.write_archive(tmp_path / f"raw/{name}.tar", raw.run(5 + seed, seed))
    assert command("build", "cold", tmp_path / "raw", tmp_path / "out") == 0
    warnings = capsys.readouterr().err
    for number, split in enumerate(PAPER):
        assert len(records(built(tmp_path, "paper"), split)) == 5 + number
        if split in PAPER_COUNTS:
            sentence = (
                f"{split} ({PAPER[split]}): {5 + number} images found, the paper's Table II has "
                f"{PAPER_COUNTS[split]} ({5 + number - PAPER_COUNTS[split]:+d})"
            )
            assert sentence in warnings and sentence in metadata(tmp_path, "paper")["warnings"]
    assert "warning: sunny1" not in warnings


def test_the_papers_splits_at_another_size(tmp_path):
    for seed, name in enumerate(PAPER.values()):
        raw.write_archive(tmp_path / f"raw/{name}.tar", raw.run(2, seed))
    option = '--config={"name": "small", "height": 6, "width": 8}'
    assert command("build", "cold", tmp_path / "raw", tmp_path / "out", option) == 0
    notes = metadata(tmp_path, "small")
    assert (
        notes["sequences"] == notes["config"]["sequences"] == PAPER and notes["config"]["map"] == ""
    )


def test_every_sequence_of_a_map(tmp_path):
    for seed, run in enumerate(("seq4_cloudy1", "seq3_night2", "seq4_sunny3")):
        raw.write_archive(
            tmp_path / f"raw/cold-saarbruecken/part_b/{run}.tar", raw.run(3 + seed, seed)
        )
    raw.write_archive(tmp_path / "raw/cold-saarbruecken/part_a/seq1_cloudy1.tar", raw.run(9, 9))
    args = ("build", "cold", tmp_path / "raw", tmp_path / "out")
    for option in ("saarbruecken_b", '{"name": "mine", "map": "cold-saarbruecken/part_b"}'):
        assert command(*args, f"--config={option}") == 0
    counts = metadata(tmp_path, "saarbruecken_b")["counts"]
    assert counts == metadata(tmp_path)["counts"] and not metadata(tmp_path)["config"]["sequences"]
    assert {split: c["kept"] for split, c in counts.items()} == {
        "seq3_night2": 4, "seq4_cloudy1": 3, "seq4_sunny3": 5,
    }  # fmt: skip
    assert command(*args, "--config=freiburg_a") == 2


def test_a_map_takes_no_sequence_that_may_be_of_another(tmp_path, capsys):
    raw.write_archive(tmp_path / "raw/cold-saarbruecken/part_a/seq1_cloudy1.tar", raw.run(4))
    raw.write_archive(tmp_path / "raw/seq3_cloudy1.tar", raw.run(4, 1))
    args = ("build", "cold", tmp_path / "raw", tmp_path / "out", "--config=saarbruecken_a")
    assert command(*args) == 2 and not (tmp_path / "out").exists()
    said = capsys.readouterr().err
    assert "raw/seq3_cloudy1.tar may be of cold-saarbruecken/part_a or of another map" in said
    assert "seq1_cloudy1" not in said


def test_the_omni_camera_and_a_size(tmp_path):
    files = raw.run(4, cameras=("std_cam", "omni_cam"))
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path, camera="omni_cam", height=6, width=8, image_format="png") == 0
    for name, found in zip(raw.names(4), records(built(tmp_path), "train"), strict=True):
        pixels = decoded({"image": files[f"omni_cam/{name}"]})
        halved = pixels.astype(float).reshape(6, 2, 8, 2, 3).mean((1, 3))
        assert np.abs(decoded(found) - halved).max() <= 1


def test_the_list_of_rooms_may_differ_from_the_images(tmp_path):
    files = raw.run(10)
    names = raw.names(10)
    for name in names[2:4]:
        del files[f"std_cam/{name}"]
    lines = files["localization/places.lst"].decode().splitlines()
    files["localization/places.lst"] = "\n".join(lines[:-1]).encode()
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path) == 0
    found = records(built(tmp_path), "train")
    assert len(found) == 8 and found[-1]["label"] == b"" and found[0]["label"] == b"CR-A"
    assert metadata(tmp_path)["rooms"] == {
        "train": {"listed_without_image": 2, "images_not_listed": 1}
    }


def test_without_a_list_labels_are_empty_and_a_warning_says_so(tmp_path, capsys):
    files = {k: v for k, v in raw.run(4).items() if not k.endswith(".lst")}
    files["std_cam/._t1.0_x0_y0_a0.jpeg"] = b"mac"
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path) == 0
    assert f"train ({ONE}) has no localization/places.lst" in capsys.readouterr().err
    assert {r["label"] for r in records(built(tmp_path), "train")} == {b""}


def test_the_list_of_another_sequence_is_warned_of(tmp_path, capsys):
    files = raw.run(4) | {"localization/places.lst": raw.run(4, 1)["localization/places.lst"]}
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path) == 0
    words = f"train ({ONE}): localization/places.lst lists 0 of 4 images"
    assert words in capsys.readouterr().err


def _rename(files, new):
    old = next(path for path in files if path.startswith("std_cam/"))
    return {new if path == old else path: data for path, data in files.items()}


FAULTS = {
    "missing archive": (lambda f: None, {}, r"holds nothing of sequence cold-saarb.*put its archive"),
    "empty sequence": (
        lambda f: {k: v for k, v in f.items() if "cam" not in k}, {},
        r"has no images std_cam/t<time>_x<m>_y<m>_a<rad>\.jpeg \(no folder holds JPEGs\)",
    ),
    "other camera": (lambda f: f, {"camera": "omni_cam"}, r"no images omni_cam.*\(seq/std_cam holds"),
    "file name": (
        lambda f: _rename(f, "std_cam/IMG_0001.jpeg"), {},
        r"std_cam/IMG_0001\.jpeg is not named t<seconds>_x<m>_y<m>_a<rad>\.jpeg",
    ),
    "no heading": (lambda f: _rename(f, "std_cam/t1.5_x0.1_y0.2.jpeg"), {}, r"so it has no pose"),
    "not a number": (
        lambda f: _rename(f, "std_cam/t1.5_xnan_y0.2_a0.1.jpeg"), {}, r"xnan.* is not named"
    ),
    "list": (
        lambda f: f | {"localization/places.lst": b"a.jpeg CR-A\njust one\nthree words here\n"}, {},
        r"places\.lst:3: 'three words here' is no '<file name> <room>'",
    ),
    "two rooms": (
        lambda f: f | {"localization/places.lst": b"a.jpeg CR-A\na.jpeg CR-A\na.jpeg KT-A\n"}, {},
        r"places\.lst:3: a\.jpeg lies in KT-A, but an earlier line says CR-A; keep one",
    ),
    "truncated image": (
        lambda f: {k: v[: len(v) // 2] if "cam" in k else v for k, v in f.items()}, {},
        r"\.jpeg is a truncated JPEG",
    ),
    "camera's name": (lambda f: f, {"camera": "front"}, r"'camera' is 'front'; known: std_cam, omni"),
    "id": (lambda f: f, {"sequences": {"train": "seq4_cloudy1"}}, r"is no COLD sequence; give <lab>/"),
    "split": (lambda f: f, {"sequences": {"a b": ONE}}, r"'a b' cannot name a split"),
    "two maps": (
        lambda f: f, {"sequences": {"train": ONE, "test": ONE.replace("part_b", "part_a")}},
        r"splits 'train' .* and 'test' .* are of different maps",
    ),
    "nothing": (lambda f: f, {"sequences": {}}, r"give either config key 'sequences'"),
    "both": (lambda f: f, {"map": "cold-freiburg/part_a"}, r"give either config key 'sequences'"),
    "map": (lambda f: f, {"sequences": {}, "map": "freiburg"}, r"'map' is 'freiburg'; give <lab>/"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input(tmp_path, capsys, fault):
    change, values, says = FAULTS[fault]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.txt").write_text("nothing")
    files = change(raw.run(6))
    if files:
        raw.write_archive(tmp_path / f"raw/{ONE}.tar", files)
    assert build(tmp_path, **values) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and re.search(says, text), text
    assert not (tmp_path / "out").exists()


def test_truncated_tar(tmp_path, capsys):
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", raw.run(6))
    path = tmp_path / f"raw/{ONE}.tar"
    path.write_bytes(path.read_bytes()[:5000])
    assert build(tmp_path) == 2
    assert "seq4_cloudy1.tar is truncated" in capsys.readouterr().err


@pytest.mark.parametrize("beside", ["folder", "tar"])
def test_a_packed_tar_comes_last(tmp_path, capsys, beside):
    packed = tmp_path / f"raw/{ONE}.tar.gz"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"packed")
    assert build(tmp_path) == 2
    assert "seq4_cloudy1.tar.gz is compressed as a whole" in capsys.readouterr().err
    if beside == "folder":
        raw.write_folder(tmp_path / f"raw/{ONE}", raw.run(3))
    else:
        raw.write_archive(tmp_path / f"raw/{ONE}.tar", raw.run(3))
    assert build(tmp_path) == 0 and len(records(built(tmp_path), "train")) == 3


def test_two_places_that_cannot_be_told_apart(tmp_path, capsys):
    raw.write_folder(tmp_path / "raw/a/seq4_cloudy1", raw.run(3))
    raw.write_folder(tmp_path / "raw/b/seq4_cloudy1", raw.run(3, 1))
    assert build(tmp_path) == 2
    text = capsys.readouterr().err
    assert "a/seq4_cloudy1 or " in text and "b/seq4_cloudy1; remove one" in text


def test_every_sequences_fault_is_named(tmp_path, capsys):
    raw.write_archive(tmp_path / f"raw/{ONE}.tar", raw.run(2))
    assert command("validate", "cold", tmp_path / "raw", tmp_path / "out") == 2
    text = capsys.readouterr().err
    assert all(name in text for name in PAPER.values() if name != ONE) and f"{ONE};" not in text


@pytest.mark.skipif(not FIXTURES.exists(), reason="no ../shared")
def test_real_names():
    lines = next(FIXTURES.glob("cold_*names*")).read_text().split()
    images = [sequence.parse_image(line, None) for line in lines]
    assert len(images) == 28 and [image.time for image in images] == sorted(i.time for i in images)
    for image_, line in zip(images, lines, strict=True):
        again = f"t{image_.time // 10**6}.{image_.time % 10**6:06d}_x{image_.position[0]:.6f}"
        assert line == f"{again}_y{image_.position[1]:.6f}_a{image_.heading:.6f}.jpeg"
