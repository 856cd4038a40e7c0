"""A training drive in memory, for tests that need no dataset on disk."""

import cv2
import numpy as np

from vprjax.data import source


class Memory:
    """A split in memory: image i is filled with grey level i (modulo 256)."""

    def __init__(self, encoded):
        self.encoded = encoded

    def __getitem__(self, index):
        return {"image": self.encoded[index]}


def drive(n=40, laps=2, size=(8, 10)):
    s = np.tile(np.arange(n, dtype=float), laps)
    positions = np.stack([10 * s, np.zeros_like(s)], axis=1)
    images = [np.full((*size, 3), i % 256, np.uint8) for i in range(n * laps)]
    encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    lap = np.repeat(np.arange(laps), n)
    return source.Places(
        image_ids=np.array([f"train/{i}" for i in range(n * laps)], dtype=object),
        positions=positions,
        headings=np.zeros(n * laps),
        timestamps=((s + 1000 * lap) * 1e6).astype(np.int64),
        labels=np.array([""] * (n * laps), dtype=object),
        splits=np.zeros(n * laps, np.int64),
        split_names=("train",),
        sources=(Memory(encoded),),
        records=np.arange(n * laps),
    )


def standing(positions, headings=None, labels=None):
    """Images that nobody looks at, at positions `(n, 2)`."""
    n = len(positions)
    return source.Places(
        image_ids=np.array([f"image{i}" for i in range(n)], dtype=object),
        positions=np.asarray(positions, np.float64),
        headings=np.full(n, np.nan) if headings is None else np.asarray(headings, np.float64),
        timestamps=np.arange(n),
        labels=np.array([""] * n if labels is None else labels, dtype=object),
        splits=np.zeros(n, np.int64),
        split_names=("split",),
        sources=(),
        records=np.arange(n),
    )
