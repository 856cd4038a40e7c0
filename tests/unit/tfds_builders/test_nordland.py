"""Nordland's three protocols: seasons, queries, positives, frames that the list leaves out."""

import json

import numpy as np
import pytest

from tests.helpers.raw_places import command, metadata, records
from tests.unit.tfds_builders.test_layouts import write

KEPT = [n for n in range(1, 38) if n not in (3, 4, 20)]  # a stop and a tunnel


def write_seasons(raw, seasons=("summer", "winter")) -> None:
    for number, season in enumerate(seasons):
        write(raw / season, *(f"images-{n:05d}.png" for n in range(1, 38)), first=100 * number)
    (raw / "cleanImageNames.txt").write_text("".join(f"images-{n:05d}.png\n" for n in KEPT))


def run(tmp_path, verb, protocol) -> int:
    option = json.dumps({"name": "mine", "layout": "nordland", "protocol": protocol})
    return command(verb, "places_csv", tmp_path / "raw", tmp_path / "out", f"--config={option}")


@pytest.mark.parametrize(
    ("protocol", "seasons", "every", "frames"),
    [
        ("nordland_10_frames", ("summer", "winter"), 1, 10),
        ("nordland_every_10th_1_frame", ("summer", "winter"), 10, 1),
        ("nordland_vpr_bench", ("winter", "summer"), 10, 1),
    ],
)
def test_protocols(tmp_path, protocol, seasons, every, frames):
    write_seasons(tmp_path / "raw")
    assert run(tmp_path, "build", protocol) == 0
    folder = tmp_path / "out/places_csv/mine/1.0.0"
    names = [f"images-{n:05d}.png" for n in KEPT]
    database, queries = (records(folder, split) for split in ("database", "queries"))
    assert [r["image_id"].decode() for r in database] == [f"{seasons[0]}/{n}" for n in names]
    assert [r["image_id"].decode() for r in queries] == [
        f"{seasons[1]}/{n}" for n in names[::every]
    ]
    told = metadata(tmp_path, builder="places_csv")
    assert told["position_unit"] == "frames" and told["protocol"]["name"] == protocol
    # The rule of the downloader: made-up metres, 25 of which are right.
    north = {name: i * 25 / (frames + 0.5) for i, name in enumerate(names)}
    for query in queries:
        own = north[query["image_id"].decode().rpartition("/")[2]]
        right = {f"{seasons[0]}/{n}" for n in names if abs(round(north[n] - own, 1)) <= 25}
        near = [np.linalg.norm(r["position"] - query["position"]) for r in database]
        found = {
            r["image_id"].decode()
            for r, d in zip(database, near, strict=True)
            if d <= told["protocol"]["radius"]
        }
        assert found == right
    assert told["counts"]["database"]["dropped"] == {"not in cleanImageNames.txt": 3}
    assert told["counts"]["queries"]["found"] == 37


def test_no_protocol_is_the_default(tmp_path, capsys):
    write_seasons(tmp_path / "raw")
    assert run(tmp_path, "validate", "") == 2
    said = capsys.readouterr().err
    for name in ("nordland_10_frames", "nordland_every_10th_1_frame", "nordland_vpr_bench"):
        assert f"'{name}' (a " in said


def test_faults(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_seasons(raw)
    (raw / "cleanImageNames.txt").unlink()
    assert run(tmp_path, "validate", "nordland_vpr_bench") == 0
    assert (
        "cleanImageNames.txt is not there, so all 37 frames count; the protocol counts the 27,592"
        in (capsys.readouterr().err)
    )
    (raw / "winter/images-00009.png").unlink()
    assert run(tmp_path, "validate", "nordland_vpr_bench") == 2
    assert "1 frames lie in one of winter and summer alone: images-00009" in capsys.readouterr().err
    (raw / "cleanImageNames.txt").write_text("images-00009.png\n")
    assert run(tmp_path, "validate", "nordland_vpr_bench") == 2
    assert "winter lacks 1 of the 1 frames of cleanImageNames.txt" in capsys.readouterr().err
    (raw / "winter").rename(raw / "spring")
    assert run(tmp_path, "validate", "nordland_10_frames") == 2
    assert "holds no folder winter, which nordland_10_frames needs" in capsys.readouterr().err


def test_the_downloaders_metres_are_doubted(tmp_path, capsys):
    names = (f"@0@{2.4 * i:07.1f}@@@@@{i}@@@@@@@@.jpg" for i in range(3))
    write(tmp_path / "raw/images/test/database", *names)
    option = '--config={"name": "mine", "layout": "utm"}'
    assert command("validate", "places_csv", tmp_path / "raw", tmp_path / "out", option) == 0
    assert (
        "these are Nordland's made-up metres, where 25 m are 10 frames" in capsys.readouterr().err
    )
