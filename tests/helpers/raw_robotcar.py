"""Writes traversals in RobotCar's raw layout: Bayer PNGs, timestamps, ins.csv, gps.csv, odometry.

The car drives a curve of 80 m radius at 10 m/s with a growing turn, so every pose is known in closed form.
"""

import io
import pathlib
import tarfile
import zipfile

import cv2
import numpy as np

RADIUS, SPEED, E0, N0 = 80.0, 10.0, 620_000.25, 5_735_000.5
START = 1_547_120_789_640_420  # microseconds
PATTERN = {"mono_left": "rggb", "mono_right": "rggb", "mono_rear": "rggb", "stereo": "gbrg"}


def route(times):
    """Easting, northing and INS yaw (clockwise from north) at times in microseconds."""
    angle = (np.asarray(times, np.float64) - START) * 1e-6 * SPEED / RADIUS
    east, north = E0 + RADIUS * np.cos(angle), N0 + RADIUS * np.sin(angle)
    yaw = np.arctan2(-np.sin(angle), np.cos(angle))  # of the velocity (-sin, cos) in (east, north)
    return east, north, yaw


def colour(number: int, height: int = 32, width: int = 40) -> np.ndarray:
    """A BGR image whose channels are linear ramps: demosaicing by bilinear means is exact inside."""
    y, x = np.mgrid[:height, :width]
    blue = 20 + 2 * x + number % 50
    green = 60 + 3 * y
    red = 200 - x - 2 * y
    return np.stack([blue, green, red], axis=-1).astype(np.uint8)


def mosaic(bgr: np.ndarray, pattern: str) -> np.ndarray:
    """The one-channel image of a sensor with a Bayer pattern, read row by row, e.g. "rggb"."""
    raw = np.zeros(bgr.shape[:2], np.uint8)
    for place, letter in enumerate(pattern):
        row, column = divmod(place, 2)
        raw[row::2, column::2] = bgr[row::2, column::2, "bgr".index(letter)]
    return raw


def png(raw: np.ndarray) -> bytes:
    """Encoded as the camera's images are."""
    return cv2.imencode(".png", raw)[1].tobytes()


def ins_rows(times, bad=()):
    """Rows of gps/ins.csv; rows whose index is in `bad` have another status."""
    east, north, yaw = route(times)
    header = (
        "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,"
        "velocity_north,velocity_east,velocity_down,roll,pitch,yaw"
    )
    lines = [header]
    for i, time in enumerate(times):
        status = "INS_ALIGNMENT_COMPLETE" if i in bad else "INS_SOLUTION_GOOD"
        lines.append(
            f"{time},{status},51.76,-1.25,110.5,{north[i]:.6f},{east[i]:.6f},-110.5,30U,"
            f"0.1,0.2,0.0,0.01,-0.02,{yaw[i]:.9f}"
        )
    return "\n".join(lines) + "\n"


def gps_rows(times, shift=0.0):
    """Rows of gps/gps.csv, `shift` metres east of the truth."""
    east, north, _ = route(times)
    lines = [
        "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,"
        "altitude_sigma,northing,easting,down,utm_zone"
    ]
    for i, time in enumerate(times):
        lines.append(
            f"{time},9,51.76,-1.25,110.5,1.1,0.9,2.2,{north[i]:.6f},{east[i] + shift:.6f},-110.5,30U"
        )
    return "\n".join(lines) + "\n"


def odometry_rows(times):
    """Rows of gt/radar_odometry.csv: the pose of each scan in the frame of the one before."""
    east, north, yaw = route(times)
    lines = [
        "source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw,"
        "source_radar_timestamp,destination_radar_timestamp"
    ]
    for i in range(1, len(times)):
        dn, de = north[i] - north[i - 1], east[i] - east[i - 1]
        c, s = np.cos(yaw[i - 1]), np.sin(yaw[i - 1])
        turn = (yaw[i] - yaw[i - 1] + np.pi) % (2 * np.pi) - np.pi
        lines.append(
            f"{times[i] + 7},{times[i - 1] + 7},{c * dn + s * de:.9f},{-s * dn + c * de:.9f},0,0,0,"
            f"{turn:.9f},{times[i]},{times[i - 1]}"
        )
    return "\n".join(lines) + "\n"


def image_times(count: int, seed: int = 0) -> np.ndarray:
    """Irregular times about 60 ms apart, starting 100 ms in."""
    steps = np.random.default_rng(seed).integers(45_000, 75_000, count)
    return START + 100_000 + np.cumsum(steps)


def pose_times(until: int, seconds: float = 0.02, seed: int = 1) -> np.ndarray:
    """Irregular pose times from START to beyond `until`."""
    count = int((until - START) * 1e-6 / seconds * 1.2) + 5
    steps = np.random.default_rng(seed).integers(int(5e5 * seconds), int(1.5e6 * seconds), count)
    return START + np.concatenate([[0], np.cumsum(steps)])


def traversal(count=6, cameras=("mono_left",), size=(32, 40), bad=(), seed=0) -> dict[str, bytes]:
    """Files of one traversal by path below its folder."""
    times = image_times(count, seed)
    log = pose_times(times[-1])
    radar = pose_times(times[-1], 0.25, 2)
    files = {
        "gps/ins.csv": ins_rows(log, bad).encode(),
        "gps/gps.csv": gps_rows(pose_times(times[-1], 0.2, 3), 0.5).encode(),
        "gt/radar_odometry.csv": odometry_rows(radar).encode(),
    }
    for camera in cameras:
        stamps = "".join(f"{time} {1 + i // 4}\n" for i, time in enumerate(times))
        files[f"{camera}.timestamps"] = stamps.encode()
        sides = ("left", "centre", "right") if camera == "stereo" else ("",)
        for side in sides:
            folder = f"{camera}/{side}".rstrip("/")
            for i, time in enumerate(times):
                raw = mosaic(colour(i, *size), PATTERN[camera])
                files[f"{folder}/{time}.png"] = png(raw)
    return files


def write_folder(root: pathlib.Path, name: str, files: dict[str, bytes]) -> None:
    """An unpacked traversal."""
    for path, data in files.items():
        target = root / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def write_archives(root: pathlib.Path, name: str, files: dict[str, bytes], kind="tar") -> None:
    """One archive a sensor, as downloaded: `<name>_<sensor>.tar` with the traversal as top folder."""
    root.mkdir(parents=True, exist_ok=True)
    sensors: dict[str, list[str]] = {}
    for path in files:
        top = path.split("/")[0].removesuffix(".timestamps")
        sensors.setdefault({"gt": "radar_odometry"}.get(top, top), []).append(path)
    for sensor, paths in sensors.items():
        target = root / f"{name}_{sensor}.{kind.split('-')[0]}"
        if kind == "tar":
            with tarfile.open(target, "w") as tar:
                for path in paths:
                    info = tarfile.TarInfo(f"{name}/{path}")
                    info.size = len(files[path])
                    tar.addfile(info, io.BytesIO(files[path]))
        else:
            method = zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_STORED
            with zipfile.ZipFile(target, "w", method) as archive:
                for path in paths:
                    archive.writestr(f"{name}/{path}", files[path])
