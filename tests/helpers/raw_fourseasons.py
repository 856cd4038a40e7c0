"""Writes a 4Seasons recording in its real form, with made-up rows, and computes where its images lie."""

import numpy as np
import pyproj
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive, pictures

PLACE = (48.19621, 11.62044, 541.0)  # latitude, longitude, height
SCALE = 0.962356
S_AS = (Rotation.from_euler("xyz", [0.02, -0.03, 0.01]), np.zeros(3))
W_GPSW = (
    Rotation.from_euler("zyx", [2.0, 0.01, -0.02]),
    np.array([0.136827, -0.206327, -0.030948]),
)
BASELINE = 0.3004961618953472
POSES_HEADER = (
    "# timestamp_ns, tran_x, tran_y, tran_z, quat_x, quat_y, quat_z, quat_w, scale, "
    "fusion_quality, v3"
)
CHAIN = """# transform_S_AS: translation vector, rotation quaternion
{s_as}

# TS_cam_imu: translation vector, rotation quaternion
0.175412,0.003689,-0.058106,-0.007202,0.708623,-0.705546,-0.002350

# transform_w_gpsw: translation vector, rotation quaternion
{w_gpsw}

# transform_gps_imu: translation vector, rotation quaternion
0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,1.000000

# transform_e_gpsw: translation vector, rotation quaternion
{e_gpsw}

# GNSS scale
0.962356

"""


def topocentric(place):
    """PROJ's own step from the earth's centre to east, north and up at a place."""
    latitude, longitude, height = place
    step = f"+proj=topocentric +ellps=WGS84 +lat_0={latitude} +lon_0={longitude} +h_0={height}"
    return pyproj.Transformer.from_pipeline(step)


def utm(local: np.ndarray, place=PLACE) -> np.ndarray:
    """Eastings, northings and heights `(n, 3)` of east, north, up at a place."""
    earth = topocentric(place).transform(*local.T, direction="INVERSE")
    degrees = pyproj.Transformer.from_crs(4978, 4979, always_xy=True).transform(*earth)
    plan = pyproj.Proj("EPSG:32632")(*degrees[:2])
    return np.column_stack([*plan, degrees[2]])


def _line(turn: Rotation, place) -> str:
    return ",".join(f"{value:.9f}" for value in (*place, *turn.as_quat()))


def _onto_earth(place) -> tuple[Rotation, np.ndarray]:
    origin, *axes = (
        np.array(topocentric(place).transform(*point, direction="INVERSE"))
        for point in np.vstack([np.zeros(3), np.eye(3)])
    )
    return Rotation.from_matrix(np.stack([axis - origin for axis in axes], axis=1)), origin


def write(folder, made: Drive, every=1, first=0, place=PLACE, cameras=("cam0",)) -> None:
    """A recording whose local frame is the drive's; each `every`th image is a keyframe."""
    for number, camera in enumerate(cameras):
        stems = [f"{nanos}.png" for nanos in made.nanos]
        pictures(folder / "undistorted_images" / camera, stems, first + 1000 * number)
    world = W_GPSW[0].apply(made.places) + W_GPSW[1]
    visual = S_AS[0].inv().apply(world) / SCALE
    turns = S_AS[0].inv() * W_GPSW[0] * Rotation.from_matrix(made.turns)
    rows = [
        f"{nanos},{x:.6f},{y:.6f},{z:.6f},{','.join(f'{q:.6f}' for q in quaternion)},{SCALE},2"
        for nanos, (x, y, z), quaternion in zip(made.nanos, visual, turns.as_quat(), strict=True)
    ]
    (folder / "GNSSPoses.txt").write_text("\n".join([POSES_HEADER, *rows[::every]]) + "\n")
    chain = CHAIN.format(
        s_as=_line(*S_AS), w_gpsw=_line(*W_GPSW), e_gpsw=_line(*_onto_earth(place))
    )
    (folder / "Transformations.txt").write_text(chain)
    (folder / "undistorted_calib_stereo.txt").write_text(
        f"1.0 0.0 0.0 -{BASELINE}\n0.0 1.0 0.0 0.0\n0.0 0.0 1.0 0.0\n0.0 0.0 0.0 1.0\n"
    )
