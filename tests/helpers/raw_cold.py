"""Writes sequences in COLD's raw layout: JPEGs named by time and pose, and localization/places.lst.

The robot drives a figure of eight 8 m long, at about 0.2 m a second with a camera of about 5 fps, so that
every pose is known in closed form. Names have six decimals, as the real ones (DATA.md).
"""

import io
import pathlib
import tarfile
import zipfile

import cv2
import numpy as np

from tests.helpers.raw_places import image

START = 1_152_886_490_040_076  # microseconds: of a real sequence
ROOMS = ("CR-A", "2PO1-A", "PA-A", "KT-A")


def times(count: int, seed: int = 0) -> np.ndarray:
    """Irregular times about 0.2 s apart, microseconds."""
    steps = np.random.default_rng(seed).integers(190_000, 215_000, count)
    return START + seed * 10**10 + np.cumsum(steps)


def pose(at: np.ndarray, seed: int = 0):
    """x, y and heading in (-pi, pi] at times."""
    s = (np.asarray(at) - START - seed * 10**10) * 1e-6 * 0.2
    x, y = 4.0 * np.sin(s / 2), 2.0 * np.sin(s)
    return x, y, np.arctan2(2.0 * np.cos(s), 2.0 * np.cos(s / 2))


def names(count: int, seed: int = 0) -> list[str]:
    """File names of a run, in time order."""
    at = times(count, seed)
    return [file_name(*values) for values in zip(at, *pose(at, seed), strict=True)]


def file_name(t: int, x: float, y: float, a: float) -> str:
    """An image's name: microseconds, metres, radians."""
    return f"t{t // 10**6}.{t % 10**6:06d}_x{x:.6f}_y{y:.6f}_a{a:.6f}.jpeg"


def room(i: int) -> str:
    """The room of a run's i-th image."""
    return ROOMS[i // 5 % len(ROOMS)]


def jpeg(bgr: np.ndarray) -> bytes:
    """Encoded as the camera stores it."""
    return cv2.imencode(".jpeg", bgr)[1].tobytes()


def run(count=12, seed=0, cameras=("std_cam",)) -> dict[str, bytes]:
    """Files of one sequence by path below its folder, in no particular order of time."""
    files = {"odom_scans/odom.tdf": b"\0\1", "odom_scans/scans.tdf": b"\0\2"}
    listed = names(count, seed)
    for number, camera in enumerate(cameras):
        for i in reversed(range(count)):
            files[f"{camera}/{listed[i]}"] = jpeg(image(1000 * seed + 100 * number + i))
    rooms = "".join(f"{name} {room(i)}\n" for i, name in enumerate(listed))
    return files | {"localization/places.lst": rooms.encode()}


def write_folder(folder: pathlib.Path, files: dict[str, bytes]) -> None:
    """An unpacked sequence."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def write_archive(path: pathlib.Path, files: dict[str, bytes], top: str = "seq") -> None:
    """A plain tar or a zip with the files below the folder `top`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(f"{top}/{name}", data)
        return
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{top}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
