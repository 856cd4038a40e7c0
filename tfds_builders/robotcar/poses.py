"""Pose logs of RobotCar, and the pose of an image at its time.

Positions are `(easting, northing)` in metres (UTM). Headings are INS yaw in radians, clockwise from north.
Between two poses the position is linear in time. The heading turns the shorter way at constant speed, the
slerp about one axis. The public Python SDK divides integers here, and so returns the previous pose.
"""

import csv
import io
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import FARTHEST, LATEST
from tfds_builders.poses.between import GAP, OUTSIDE, ascending, locate

GOOD = "INS_SOLUTION_GOOD"
POSES = {"ins": "gps/ins.csv", "gps": "gps/gps.csv", "radar_odometry": "gt/radar_odometry.csv"}


class PoseLog(NamedTuple):
    """Poses at strictly ascending times.

    Attributes:
      times: `(n,)` int64 microseconds.
      positions: `(n, 2)` easting and northing, metres.
      headings: `(n,)` radians, NaN where unknown.
      good: `(n,)` bool, whether the pose is usable.
      repeats: number of dropped rows that repeat an earlier row's time.
      unsorted: number of rows whose time lies before an earlier row's, which are sorted.
    """

    times: np.ndarray
    positions: np.ndarray
    headings: np.ndarray
    good: np.ndarray
    repeats: int = 0
    unsorted: int = 0


def read_ins(raw: bytes, where: str) -> PoseLog:
    """Reads INS poses of `gps/ins.csv`, good where the status is `INS_SOLUTION_GOOD`."""
    columns = _columns(raw, where, ("timestamp", "northing", "easting", "yaw"), ("ins_status",))
    status = np.array([text == GOOD for text in columns["ins_status"]], bool)
    return _log(columns, columns["yaw"], status & np.isfinite(columns["yaw"]))


def read_gps(raw: bytes, where: str) -> PoseLog:
    """Reads GPS positions of `gps/gps.csv`, without headings."""
    columns = _columns(raw, where, ("timestamp", "northing", "easting"))
    count = len(columns["timestamp"])
    return _log(columns, np.full(count, np.nan), np.ones(count, bool))


def read_radar_odometry(raw: bytes, where: str) -> PoseLog:
    """Reads and integrates `gt/radar_odometry.csv` from (0, 0): x is north, y is east, yaw clockwise.

    A row is the SE(2) pose of its source scan in the frame of its destination scan, the one before:
    `T[source] = T[before] @ step`.
    """
    names = ("source_radar_timestamp", "destination_radar_timestamp", "x", "y", "yaw")
    columns = _columns(raw, where, names)
    times = columns["source_radar_timestamp"].astype(np.int64)
    order, repeats, unsorted = ascending(times)  # before the sum: a repeated step would lengthen it
    columns, times = {name: values[order] for name, values in columns.items()}, times[order]
    first = np.int64(columns["destination_radar_timestamp"][0])
    turn = np.cumsum(columns["yaw"])
    before = turn - columns["yaw"]
    north = np.cumsum(columns["x"] * np.cos(before) - columns["y"] * np.sin(before))
    east = np.cumsum(columns["x"] * np.sin(before) + columns["y"] * np.cos(before))
    start = 1 if first < times[0] else 0
    if start:  # the log begins at the first row's destination
        times = np.concatenate([[first], times])
        north, east, turn = (np.concatenate([[0.0], v]) for v in (north, east, turn))
    track = {"timestamp": times, "northing": north, "easting": east}
    log = _log(track, turn, np.isfinite(north + east))
    return log._replace(repeats=repeats, unsorted=unsorted)


READERS = {"ins": read_ins, "gps": read_gps, "radar_odometry": read_radar_odometry}


def _columns(raw: bytes, where: str, numbers: tuple, texts: tuple = ()) -> dict[str, np.ndarray]:
    """The columns of a CSV by name; raises RawDataError that names columns or a line."""
    reader = csv.reader(io.StringIO(raw.decode("utf-8-sig", "replace"), newline=""))
    header = [name.strip() for name in next(_rows(reader, where), [])]
    missing = [name for name in numbers + texts if name not in header]
    if missing:
        raise RawDataError(
            f"{where}:1: no column {', '.join(missing)} (the header is {','.join(header) or 'empty'}); "
            "use the file as downloaded"
        )
    places = {name: header.index(name) for name in numbers + texts}
    values: dict[str, list] = {name: [] for name in places}
    for fields in _rows(reader, where):
        if not fields:
            continue
        if len(fields) < len(header):
            raise RawDataError(
                f"{where}:{reader.line_num}: {len(fields)} fields where the header has {len(header)}; "
                "the file is truncated or malformed, download or copy it again"
            )
        for name in texts:
            values[name].append(fields[places[name]].strip())
        for name in numbers:
            try:
                values[name].append(_number(name, fields[places[name]]))
            except ValueError as error:
                raise RawDataError(
                    f"{where}:{reader.line_num}: {name} is {fields[places[name]]!r}, not a number or too "
                    "large; download or copy the file again"
                ) from error
    if not values[numbers[0]]:
        raise RawDataError(f"{where} has a header but no rows; download or copy the file again")
    return {
        name: np.array(column, np.int64 if name.endswith("timestamp") else None)
        for name, column in values.items()
    }


def _rows(reader, where: str) -> Iterator[list[str]]:
    """Yields the rows; raises RawDataError that names a line that is no CSV."""
    try:
        yield from reader
    except csv.Error as error:
        raise RawDataError(
            f"{where}:{reader.line_num}: broken CSV ({error}); download or copy the file again"
        ) from error


def _number(name: str, text: str) -> int | float:
    """The number, NaN included; raises ValueError for no number or one beyond the schema's bounds."""
    is_time = name.endswith("timestamp")
    value = int(text) if is_time else float(text)
    if abs(value) > (LATEST if is_time else FARTHEST):
        raise ValueError(text)
    return value


def _log(columns: dict, headings: np.ndarray, good: np.ndarray) -> PoseLog:
    times = columns["timestamp"]
    order, repeats, unsorted = ascending(times)
    positions = np.stack([columns["easting"], columns["northing"]], axis=1).astype(np.float64)
    good = good & np.isfinite(positions).all(axis=1)
    return PoseLog(times[order], positions[order], headings[order], good[order], repeats, unsorted)


class Posed(NamedTuple):
    """Poses at the images' times, and the reasons why an image has none.

    Attributes:
      positions: `(n, 2)` metres, valid where `reasons` is empty.
      headings: `(n,)` radians in (-pi, pi].
      reasons: `(n,)` str, "" for a usable pose, else why the builder drops the image.
    """

    positions: np.ndarray
    headings: np.ndarray
    reasons: np.ndarray


BAD_STATUS = "bad pose status"


def interpolate(log: PoseLog, times: np.ndarray, max_gap: float) -> Posed:
    """Interpolates the poses at `times`, `(n,)` int64 microseconds.

    An image has no pose outside the log, beside a pose that is not good, and between neighbours more than
    `max_gap` seconds apart.
    """
    before, after, share, outside, gap = locate(log.times, times, max_gap * 1e6)
    step = log.positions[after] - log.positions[before]
    positions = log.positions[before] + share[:, None] * step
    turn = log.headings[after] - log.headings[before]
    turn = turn - 2 * math.pi * np.round(turn / (2 * math.pi))
    headings = wrap(log.headings[before] + share * turn)
    bad = ~(log.good[before] & log.good[after])
    reasons = np.select([outside, bad, gap], [OUTSIDE, BAD_STATUS, GAP], "")
    return Posed(positions, headings, reasons)


def wrap(angles: np.ndarray) -> np.ndarray:
    """The angles in (-pi, pi]."""
    return -((-angles + math.pi) % (2 * math.pi) - math.pi)


def align(log: PoseLog, target: PoseLog, max_gap: float) -> PoseLog:
    """Turns and shifts a log onto another by least squares over their shared times.

    Raises:
      ValueError: the logs share fewer than two good poses.
    """
    posed = interpolate(target, log.times, max_gap)
    use = (posed.reasons == "") & log.good
    if use.sum() < 2:
        raise ValueError("fewer than two shared poses")
    a, b = log.positions[use], posed.positions[use]
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    za, zb = ((v - m) @ np.array([1, 1j]) for v, m in ((a, a_mean), (b, b_mean)))
    angle = float(np.angle(np.vdot(za, zb)))  # counter-clockwise in (east, north)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    positions = (log.positions - a_mean) @ turn.T + b_mean
    return log._replace(positions=positions, headings=wrap(log.headings - angle))


def thin(positions: np.ndarray, metres: float) -> np.ndarray:
    """Keeps the first image and each at least `metres` from the last kept one: `(n,)` bool."""
    keep = np.ones(len(positions), bool)
    last = None
    for number, position in enumerate(positions):
        keep[number] = last is None or math.dist(position, last) >= metres
        if keep[number]:
            last = position
    return keep
