"""Splits that hold the same images are told by `validate` and `build`, which keeps their digests."""

import hashlib

import pytest

from tests.helpers.raw_places import built, command, metadata, records, write_raw
from vprjax.data import same_images

MINE = '--config={"name": "mine"}'


@pytest.mark.parametrize(
    ("test01", "warned"),
    [
        ("train", ["3 of 3 images of train are among the 3 of test01, byte for byte: never"]),
        ("test01", []),
    ],
)
def test_the_same_images_under_two_names_are_told(tmp_path, capsys, test01, warned):
    raw = write_raw(tmp_path / "raw")
    rows = [f"train,train/{i:03d}.png,{i},0" for i in range(3)]
    rows += [f"test01,{test01}/{i:03d}.png,{i},1" for i in range(3)]
    (raw / "places.csv").write_text("\n".join(["sequence,image,x,y", *rows]))
    for verb in ("validate", "build"):
        assert command(verb, "places_csv", raw, tmp_path / "out", MINE) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
        assert [line.partition(" evaluate")[0] for line in told] == [
            f"warning: {w}" for w in warned
        ]
    assert len(metadata(tmp_path, builder="places_csv")["warnings"]) == len(warned)
    folder = built(tmp_path, builder="places_csv")
    wanted = [hashlib.sha256(r["image"]).digest()[:8] for r in records(folder, "train")]
    kept = (folder / "image_digests-train.bin").read_bytes()
    assert kept == b"".join(wanted) + same_images.digest(b"".join(wanted))
