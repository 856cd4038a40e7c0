"""Writes a day of NCLT in its real form, with made-up rows."""

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive
from tests.helpers.raw_places import image

NED = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])  # and back


def body(made: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Places and turns of a body (x forward, y right, z down) at a drive's cameras, north, east, down."""
    turns = NED @ made.turns @ np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    return made.places @ NED.T, turns


def camera(made: Drive, mount: np.ndarray) -> Drive:
    """The drive of a camera, 4x4 to the body, on that body; picture upright: x right, y down."""
    places, turns = body(made)
    seen = NED @ turns @ mount[:3, :3]
    return Drive(
        (places + turns @ mount[:3, 3]) @ NED.T,
        np.arctan2(seen[:, 0, 2], seen[:, 1, 2]),
        seen,
        made.nanos,
    )


def write(root, day, made: Drive, image_nanos, camera="Cam5", unknown=(), first=0) -> None:
    """Rows of the body at the drive, NaN in `unknown` ones, and pictures on their side."""
    held = root / day / "lb3" / camera
    held.mkdir(parents=True)
    for number, nanos in enumerate(image_nanos, first):
        side = cv2.rotate(image(number), cv2.ROTATE_90_COUNTERCLOCKWISE)
        assert cv2.imwrite(str(held / f"{nanos // 1000}.tiff"), side)
    places, turns = body(made)
    angles = Rotation.from_matrix(turns).as_euler("ZYX")[:, ::-1]
    rows = [
        ",".join([str(nanos // 1000), *(f"{value:.9f}" for value in (*place, *angle))])
        for nanos, place, angle in zip(made.nanos, places, angles, strict=True)
    ]
    for row in unknown:
        rows[row] = f"{made.nanos[row] // 1000},{','.join(['nan'] * 6)}"
    (root / f"groundtruth_{day}.csv").write_text("\n".join(rows) + "\n")
