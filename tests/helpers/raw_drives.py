"""A made-up drive that every raw tree of poses shares: its route, camera rotations and pictures.

Everything here is computed apart from the package: SciPy's Rotation and plain NumPy.
"""

import json
import pathlib
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from tests.helpers.raw_places import command, image, metadata

NORTHWARD = np.array(
    [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]
)  # a level camera that looks north, to ENU


class Drive(NamedTuple):
    """A camera's way.

    Attributes:
      places: `(n, 3)` east, north, up, metres.
      headings: `(n,)` radians clockwise from north.
      turns: `(n, 3, 3)` camera (x right, y down, z forward) to east-north-up.
      nanos: `(n,)` int nanoseconds since 1970.
    """

    places: np.ndarray
    headings: np.ndarray
    turns: np.ndarray
    nanos: np.ndarray


def drive(count=60, start=(0.0, 0.0, 0.0), first=1_628_185_086_339_831_000, step=100_000_000):
    """A winding loop of 2 m steps; the camera nods and leans a little."""
    phase = np.linspace(0, 1, count)
    headings = 7 * phase + 0.5 * np.sin(9 * phase)
    middle = (headings[1:] + headings[:-1]) / 2
    plan = 2 * np.stack([np.sin(middle), np.cos(middle)], axis=1)
    places = np.zeros((count, 3))
    places[1:, :2] = np.cumsum(plan, axis=0)
    places[:, 2] = 0.5 * np.sin(5 * phase)
    turns = turned(headings, pitch=0.03 * np.sin(7 * phase), roll=0.02 * np.cos(4 * phase))
    return Drive(places + start, headings, turns, first + step * np.arange(count))


def between(made: Drive, nanos) -> Drive:
    """The drive at other times: NumPy's linear interpolation and SciPy's slerp."""
    nanos = np.asarray(nanos)
    rows, asked = ((t - made.nanos[0]) / 1e9 for t in (made.nanos, nanos))
    places = np.stack([np.interp(asked, rows, column) for column in made.places.T], axis=1)
    turns = Slerp(rows, Rotation.from_matrix(made.turns))(asked).as_matrix()
    return Drive(places, np.arctan2(turns[:, 0, 2], turns[:, 1, 2]), turns, nanos)


def turned(headings, pitch=0.0, roll=0.0) -> np.ndarray:
    """Rotations of cameras with these headings (clockwise from north), pitches (up) and rolls, radians."""
    angles = np.stack(np.broadcast_arrays(pitch, roll), axis=-1)
    local = Rotation.from_euler("XZ", angles)
    yaw = Rotation.from_rotvec(np.stack([0 * headings, 0 * headings, -headings], axis=-1))
    return (yaw * Rotation.from_matrix(NORTHWARD) * local).as_matrix()


def pictures(folder: pathlib.Path, names, first=0, size=(12, 16)) -> None:
    """Writes a small picture per name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, first):
        assert cv2.imwrite(str(folder / name), image(number, *size))


def option(layout, **config) -> str:
    """The option of the command line that names the layout."""
    return f"--config={json.dumps({'name': 'mine', 'layout': layout} | config)}"


def build(root: pathlib.Path, layout, verb="build", **config) -> int:
    """Builds `root/raw` below `root/out`."""
    return command(verb, "places_csv", root / "raw", root / "out", option(layout, **config))


def warnings(root: pathlib.Path) -> list[str]:
    """Warnings of the dataset that `build` built."""
    return metadata(root, builder="places_csv")["warnings"]


def check(records, made: Drive, keep=slice(None), centimetre=0.01, degrees=0.1) -> None:
    """Asserts that records are a drive's: positions, headings, and microseconds in order."""
    assert len(records) == len(made.places[keep])
    found = np.array([record["position"] for record in records])
    np.testing.assert_allclose(found, made.places[keep][:, :2], atol=centimetre, rtol=0)
    axis = made.turns[keep][:, :, 2]
    turn = np.array([r["heading"] for r in records]) - np.arctan2(axis[:, 0], axis[:, 1])
    assert np.degrees(np.abs(np.angle(np.exp(1j * turn)))).max() < degrees
    assert [int(r["timestamp"]) for r in records] == (made.nanos[keep] // 1000).tolist()
