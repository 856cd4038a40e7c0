"""Writes TUM and EuRoC sequences in their real forms, with made-up rows."""

import numpy as np
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive, pictures

T_BS = np.eye(4)  # camera to body: x of the body points up, as on the real drone
T_BS[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
T_BS[:3, 3] = [-0.0216, -0.0647, 0.0098]
EUROC_HEADER = (
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], "
    "q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"
)


def decimal(nanos: int, digits: int) -> str:
    """Seconds with some digits after the point."""
    return f"{nanos // 10**9}.{nanos % 10**9:09d}"[: 11 + digits]


def tum(folder, made: Drive, image_nanos, order="xyzw", first=0) -> None:
    """Rows of the camera at the drive, pictures at other times."""
    stems = [decimal(int(nanos), 6) for nanos in image_nanos]
    pictures(folder / "rgb", [f"{stem}.png" for stem in stems], first)
    (folder / "rgb.txt").write_text(
        "# color images\n# file: 'x.bag'\n# timestamp filename\n"
        + "".join(f"{stem} rgb/{stem}.png\n" for stem in stems)
    )
    quaternions = Rotation.from_matrix(made.turns).as_quat()[:, ["xyzw".index(c) for c in order]]
    rows = [
        " ".join([decimal(int(nanos), 4), *(f"{value:.7f}" for value in (*place, *quaternion))])
        for nanos, place, quaternion in zip(made.nanos, made.places, quaternions, strict=True)
    ]
    (folder / "groundtruth.txt").write_text("# ground truth trajectory\n" + "\n".join(rows) + "\n")


def euroc(folder, made: Drive, image_nanos, cameras=("cam0",), order="wxyz", first=0) -> None:
    """Rows of the body that carries the drive's camera, pictures at other times."""
    for number, camera in enumerate(cameras):
        held = folder / "mav0" / camera
        names = [f"{nanos}.png" for nanos in image_nanos]
        pictures(held / "data", names, first + 1000 * number)
        mount = T_BS.copy()
        mount[0, 3] += 0.11 * number  # above the other one, which the test knows
        values = ", ".join(f"{value:.12f}" for value in mount.ravel())
        (held / "sensor.yaml").write_text(
            "sensor_type: camera\ncomment: VI-Sensor\nT_BS:\n  cols: 4\n  rows: 4\n"
            f"  data: [{values}]\nrate_hz: 20\n"
        )
    turns = made.turns @ T_BS[:3, :3].T
    places = made.places - turns @ T_BS[:3, 3]
    quaternions = Rotation.from_matrix(turns).as_quat()[:, ["xyzw".index(c) for c in order]]
    rows = [
        ",".join([str(nanos), *(f"{value:.9f}" for value in (*place, *quaternion))])
        for nanos, place, quaternion in zip(made.nanos, places, quaternions, strict=True)
    ]
    held = folder / "mav0/state_groundtruth_estimate0"
    held.mkdir(parents=True)
    (held / "data.csv").write_text("\n".join([EUROC_HEADER, *rows]) + "\n")
