"""Data that gives figures without a meaning: the run warns where its figures stand, or refuses."""

import json
import re

import numpy as np
import pytest

from configs import places_csv
from tests.helpers import commands
from tests.helpers.raw_places import command, write_raw
from vprjax.errors import ConfigError
from vprjax.training import preflight

SPLITS = ("train", "reference", "test01")
SMALL = (
    "--config=configs/places_csv.py:mobilenetv2,gem,triplet",
    *(flag for flag in commands.SMALL if "dataset.name" not in flag),
    "--config.dataset.query_splits=('test01',)",
    "--config.train.steps=0",
    "--config.eval.recalls=(1,)",
)


def build(root, rows):
    """Builds `places_csv/mine` of 24 images per split; `rows` gives a split's columns after the image."""
    raw = write_raw(root / "raw", SPLITS, count=24)
    lines = [f"{split},{image},{rest}" for split in SPLITS for image, rest in rows(split)]
    (raw / "places.csv").write_text("\n".join(["sequence,image,x,y,heading", *lines]))
    assert command("build", "places_csv", raw, root / "out", '--config={"name": "mine"}') == 0


def job(root, *flags, status=0):
    where = f"--workdir={root}/run", f"--config.dataset.data_dir={root}/out"
    return commands.run(
        "vprjax.main",
        *SMALL,
        "--config.dataset.name=places_csv/mine",
        *where,
        *flags,
        status=status,
    )


def test_degrees_are_told_where_the_figures_stand(tmp_path):
    def rows(split):
        for i in range(24):
            x, y = np.array([-1.26, 51.75]) + (i // 12) * np.array([1.4, 0.4]) + 1e-4 * i
            yield f"{split}/{i:03d}.png", f"{x},{y},{10 * i}"

    build(tmp_path, rows)
    done = job(tmp_path)
    table, page = ((tmp_path / "run" / f).read_text() for f in ("results.md", "report.html"))
    saved = json.loads((tmp_path / "run/results.json").read_text())["provenance"]["warnings"]
    found = ("these look like degrees of longitude", "headings are radians", "any match is right")
    assert len(saved) == len(found)
    for sentence, words in zip(saved, found, strict=True):
        assert words in sentence
        assert sentence in table and sentence in done.stdout and sentence in page
        assert f"warning: {sentence}" in done.stderr


def images_of(train, reference, test01):
    """Rows of a sound drive, whose splits list the images of those named."""
    whose = {"train": train, "reference": reference, "test01": test01}
    return lambda split: ((f"{whose[split]}/{i:03d}.png", f"{10 * i},0,0") for i in range(24))


SAME = [
    (("train", "reference", "reference"), "such a query finds itself"),
    (("test01", "reference", "test01"), "a query that was trained on measures nothing"),
]


@pytest.mark.parametrize(("whose", "follows"), SAME)
@pytest.mark.parametrize("kept", [True, False])
def test_the_same_images_under_two_names_are_refused(tmp_path, whose, follows, kept):
    """Both jobs refuse them, by the builder's digests and without."""
    build(tmp_path, images_of(*whose))
    for path in [] if kept else tmp_path.rglob("image_digests-*.bin"):
        path.unlink()
    c = places_csv.get_config("mobilenetv2,gem,triplet")
    c.dataset.update(name="places_csv/mine", data_dir=f"{tmp_path}/out")
    c.tuples.batch, c.eval.recalls = 8, (1,)
    said = f"24 of 24 images of split 'test01' are those of split .*, byte for byte: {follows}"
    with pytest.raises(ConfigError, match=said):
        preflight.check_training(c, tmp_path / "run")
    with pytest.raises(ConfigError, match=said):
        preflight.check_checkpoint(c, tmp_path / "run", c.dataset, 2)
    c.train.steps = 0  # nothing was trained on
    if "trained" in follows:
        assert preflight.check_checkpoint(c, tmp_path / "run", c.dataset, 2).warnings == ()


def queries_at(unknown):
    """Rows of a sound drive of 24 images per split; the queries of `unknown` numbers have no position."""

    def rows(split):
        for i in range(24):
            lacking = split == "test01" and i in unknown
            yield f"{split}/{i:03d}.png", ",," if lacking else f"{4 * i},{0.5 * i},0"

    return rows


@pytest.mark.parametrize("unknown", [range(8, 12), range(24)])
def test_queries_without_positions_are_answered_and_counted(tmp_path, unknown, capsys):
    build(tmp_path, queries_at(unknown))
    told = f"test01: {len(unknown)} of 24 images have no position"
    assert told in capsys.readouterr().err
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path / "out") == 0
    assert told in capsys.readouterr().err
    done = job(tmp_path, "--config.eval.sequence_length=3")
    run = tmp_path / "run"
    (figures,) = (
        by_split["test01"]
        for by_split in json.loads((run / "results.json").read_text())["results"].values()
    )
    left = 24 - len(unknown)
    assert figures["with_position"] == left and figures["queries"] == 24
    assert (figures["fcm"]["25"] is None) == (figures["recall"]["1"] is None) == (not left)
    counted = (
        f"{left} of 24 queries have a position" if left else "none of 24 queries has a position"
    )
    table = (run / "results.md").read_text()
    assert counted in table and "percentage of all queries with a position whose" in table
    assert ("| - |" in done.stdout) == (not left) and "nan" not in done.stdout.lower()
    page = (run / "report.html").read_text()
    assert (f"of {left} queries with a position (of 24)" if left else counted) in page
    assert "no position" in page and "nan" not in re.sub(r"base64,[^\"]*", "", page.lower())
    lines = (run / "matches/off_the_shelf_test01.csv").read_text().splitlines()[1:]
    empty = [i for i, line in enumerate(lines) if line.split(",")[1] == ""]
    assert empty == list(unknown) and all(line.split(",")[3] for line in lines)
    assert all(lines[i].split(",")[6] == "" and lines[i].split(",")[7] for i in empty)


@pytest.mark.parametrize("split", ["train", "reference"])
def test_a_map_or_training_without_positions_is_refused(tmp_path, split):
    def rows(own):
        poses = (",," if own == split and i > 20 else f"{4 * i},0,0" for i in range(24))
        return [(f"{own}/{i:03d}.png", pose) for i, pose in enumerate(poses)]

    build(tmp_path, rows)
    said = job(tmp_path, status=2).stderr
    assert f"dataset.{split}_split" in said and f"3 of 24 images of split '{split}'" in said
    assert "have no position, which only queries may lack" in said and "Traceback" not in said
