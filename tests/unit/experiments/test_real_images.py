"""Nordland's protocols: what trains, what is matched, and that no test frame is in those for choices."""

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
