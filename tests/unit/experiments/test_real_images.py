"""Nordland's protocols: what trains, what is matched, and that no test frame is in those for choices."""

import sys

import cv2
import numpy as np
import pytest
import real_images

NUMBERS = [n for n in range(0, 20_000, 10) if n % 500 in (0, 10)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nordland")
    for season in ("summer", "winter"):
        (folder / season).mkdir()
        for number in NUMBERS:
            image = np.zeros((2, 2), np.uint8)
            assert cv2.imwrite(str(folder / season / f"images-{number:05d}.png"), image)
    return folder


@pytest.mark.parametrize(
    ("protocol", "last_train", "reference", "query"),
    [
        ("nordland", 18_000, (18_510, 19_510), ("test02", 18_510, 19_510)),
        ("nordland_tune", 15_000, (15_510, 18_000), ("val", 15_510, 18_000)),
        ("nordland_tune_wide", 12_000, (0, 18_000), ("val", 12_510, 18_000)),
    ],
)
def test_what_each_protocol_holds(images, protocol, last_train, reference, query):
    rows = real_images.nordland(images, protocol, drop_still=False)
    numbers = {}
    for row in rows:
        assert row["image"] == f"{row['image'].split('/')[0]}/images-{int(row['x'] * 10):05d}.png"
        numbers.setdefault((row["sequence"], row["image"].split("/")[0]), []).append(row["x"] * 10)
    within = {
        ("train_summer", "summer"): (0, last_train),
        ("train_winter", "winter"): (0, last_train),
        ("reference", "summer"): reference,
        (query[0], "winter"): query[1:],
    }
    assert numbers == {
        key: [n for n in NUMBERS if first <= n <= last] for key, (first, last) in within.items()
    }


def command(monkeypatch, images, raw, *flags):
    words = ["real_images", "nordland", f"--images={images}", f"--raw={raw}", *flags]
    monkeypatch.setattr(sys, "argv", words)
    real_images.main()


def test_a_damaged_frame_is_told_by_its_name(images, tmp_path, monkeypatch, capsys):
    for season in ("summer", "winter"):
        (tmp_path / season).mkdir()
        for file in (images / season).iterdir():
            (tmp_path / season / file.name).symlink_to(file)
    bad = tmp_path / "winter/images-00500.png"
    bad.unlink()
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(SystemExit) as ended:
        command(monkeypatch, tmp_path, tmp_path / "raw", "--drop_still")
    assert ended.value.code == 2 and f"{bad} is damaged or no PNG" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def test_places_csv_stays_whole_where_a_second_one_cannot_be_written(images, tmp_path, monkeypatch):
    command(monkeypatch, images, tmp_path)
    before = (tmp_path / "places.csv").read_bytes()
    assert before.startswith(
        b"sequence,image,x,y\r\ntrain_summer,summer/images-00000.png,0.0,0\r\n"
    )

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        command(monkeypatch, images, tmp_path)
    assert (tmp_path / "places.csv").read_bytes() == before
