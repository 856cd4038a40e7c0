"""Writes KITTI odometry and KITTI-360 trees in their real form, with made-up rows."""

import datetime

import numpy as np

from tests.helpers.raw_drives import NORTHWARD, Drive, pictures

FOCAL, BASELINE = 718.856, 0.54
WORLD = (-1666.4, -1973.1, 118.0)  # of KITTI-360's world


def projection(name: str, x: float) -> str:
    """A row of a calibration: a rectified camera that lies `x` metres right of camera 0."""
    row = [FOCAL, 0, 607.19, -FOCAL * x, 0, FOCAL, 185.2, 0, 0, 0, 1, 0]
    return f"{name}: {' '.join(f'{value:.12e}' for value in row)}"


def rows(turns, places) -> list[str]:
    """12 numbers a row."""
    matrices = np.concatenate([turns, places[:, :, None]], axis=2).reshape(-1, 12)
    return [" ".join(f"{value:.9e}" for value in row) for row in matrices]


def odometry(folder, made: Drive, name="00", cameras=("image_0",), first=0) -> Drive:
    """A sequence, and the drive in the frame that the layout reads: north is where it first looks."""
    root = folder / "sequences" / name
    for number, camera in enumerate(cameras):
        files = [f"{i:06d}.png" for i in range(len(made.nanos))]
        pictures(root / camera, files, first + 1000 * number)
    seconds = (made.nanos - made.nanos[0]) / 1e9
    (root / "times.txt").write_text("".join(f"{t:.6e}\n" for t in seconds))
    (root / "calib.txt").write_text(
        "\n".join([projection("P0", 0), projection("P1", BASELINE), projection("P2", -0.06)])
    )
    back = made.turns[0].T
    turns, places = back @ made.turns, (made.places - made.places[0]) @ back.T
    (folder / "poses").mkdir(exist_ok=True)
    (folder / f"poses/{name}.txt").write_text("\n".join(rows(turns, places)) + "\n")
    nanos = np.round(seconds * 1e6).astype(np.int64) * 1000
    axis = NORTHWARD @ turns
    return Drive(places @ NORTHWARD.T, np.arctan2(axis[:, 0, 2], axis[:, 1, 2]), axis, nanos)


def kitti360(
    folder,
    made: Drive,
    name="2013_05_28_drive_0000_sync",
    cameras=("image_00",),
    every=1,
    first=0,
) -> None:
    """A drive; each `every`th frame has a pose, from frame 1 on."""
    for number, camera in enumerate(cameras):
        held = folder / "data_2d_raw" / name / camera
        files = [f"{i:010d}.png" for i in range(len(made.nanos))]
        pictures(held / "data_rect", files, first + 1000 * number)
        (held / "timestamps.txt").write_text("".join(f"{moment(n)}\n" for n in made.nanos))
    lines = [
        f"{frame} {row} 0.000000 0 0.000000 1 "
        for frame, row in enumerate(rows(made.turns, made.places))
    ]
    (folder / "data_poses" / name).mkdir(parents=True)
    (folder / "data_poses" / name / "cam0_to_world.txt").write_text(
        "\n".join(lines[1::every]) + "\n"
    )
    (folder / "calibration").mkdir(exist_ok=True)
    (folder / "calibration/perspective.txt").write_text(
        "\n".join(["corner_dist: 0.1", projection("P_rect_00", 0), projection("P_rect_01", 0.6)])
    )


def moment(nanos: int) -> str:
    """`2013-05-28 08:46:02.904626000` of nanoseconds."""
    seconds, rest = divmod(int(nanos), 10**9)
    clock = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{clock:%Y-%m-%d %H:%M:%S}.{rest:09d}"
