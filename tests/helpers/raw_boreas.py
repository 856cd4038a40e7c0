"""Writes a Boreas drive in its real form, with made-up rows."""

import numpy as np
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive, pictures

HEADER = (
    "GPSTime,easting,northing,altitude,vel_east,vel_north,vel_up,roll,pitch,heading,"
    "angvel_z,angvel_y,angvel_x"
)


def write(folder, made: Drive, first=0, clock="GPSTime", unposed=0) -> None:
    """A drive's pictures and poses; the last `unposed` pictures have no row."""
    stems = made.nanos // 1000
    pictures(folder / "camera", [f"{stem}.png" for stem in stems], first)
    # The passive matrices' product roll pitch yaw is the inverse of the active Rz Ry Rx.
    angles = Rotation.from_matrix(made.turns.transpose(0, 2, 1)).as_euler("ZYX")[:, ::-1]
    lines = [HEADER.replace("GPSTime", clock)]
    for stem, place, angle in list(zip(stems, made.places, angles, strict=True))[
        : len(stems) - unposed
    ]:
        numbers = [*place, 0.0, 0.0, 0.0, *angle, 0.0, 0.0, 0.0]
        lines.append(",".join([str(stem), *(repr(float(n)) for n in np.asarray(numbers))]))
    (folder / "applanix").mkdir()
    (folder / "applanix/camera_poses.csv").write_text("\n".join(lines) + "\n")
