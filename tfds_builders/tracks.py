"""A track of timed positions, from a GPX file or a CSV: read, and interpolated at other times."""

import csv
import datetime
import io
import itertools
import math
import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import FARTHEST, LATEST
from tfds_builders.places_csv import remedies, zones
from tfds_builders.poses import times

LARGEST = 1 << 28  # bytes; a day of GPX at ten points a second has half of them
LONG_GAP = 30.0  # seconds without a point, over which a straight line is a guess
COLUMNS = "time,x,y or time,lat,lon"


class Track(NamedTuple):
    """Positions in time.

    Attributes:
      times: `(n,)` seconds, ascending; since 1970 in UTC where they are dates.
      columns: `(4, n)` x, y, altitude (NaN where unknown) and length of the track up to there, in metres.
      crs: of x and y, "" where unknown.
    """

    times: np.ndarray
    columns: np.ndarray
    crs: str

    def covers(self, time: float) -> bool:
        """Whether the track has begun and not ended at a time."""
        return bool(self.times[0] <= time <= self.times[-1])

    def at(self, time: float) -> list[float]:
        """The four columns at a time, linear between two points."""
        return [float(np.interp(time, self.times, column)) for column in self.columns]


def read_track(path: pathlib.Path, warnings: list[str]) -> Track:
    """Reads a `.gpx`, or a CSV of the columns `time,x,y` or `time,lat,lon`.

    Points of one time count once. `warnings` takes a sentence per doubt.

    Raises:
      RawDataError: names what cannot be read, with its line.
    """
    try:
        raw = path.read_bytes() if path.stat().st_size <= LARGEST else None
    except OSError as error:
        raise RawDataError(f"--track={path} cannot be read: {error.strerror}") from error
    if raw is None:
        raise RawDataError(f"--track={path} has more than {LARGEST:,} bytes; cut it to the video")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RawDataError(f"--track={path} is no UTF-8 text; save it as UTF-8") from error
    reader = _gpx if path.suffix.lower() == ".gpx" else _table
    points, degrees, naive = reader(path, text)
    if naive:
        warnings.append(
            f"{path.name}: {naive:,} of {len(points):,} times have no Z and no offset from UTC, so they "
            "are taken as UTC: if that clock was local, positions are hours off; export the track with Z, "
            "or give --start by the same clock"
        )
    points = points[np.unique(points[:, 0], return_index=True)[1]]
    if len(points) < 2:
        raise RawDataError(
            f"--track={path} holds {len(points)} points of different times; give two"
        )
    gap = float(np.diff(points[:, 0]).max())
    if gap > LONG_GAP:
        warnings.append(
            f"{path.name} has no point for up to {gap:.0f} s; positions there are on a straight line"
        )
    positions, crs = points[:, 1:3], ""
    if degrees:
        positions, zone = zones.project(positions, [path.name] * len(points), warnings)
        crs = zone.crs
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    return Track(points[:, 0].copy(), np.stack([*positions.T, points[:, 3], lengths]), crs)


def start(option: str | None, track: Track, warnings: list[str]) -> float:
    """When a video starts, on its track's clock: at `--start`, else when the track does.

    Raises:
      RawDataError: the option is no time.
    """
    if option is None:
        warnings.append("the video is taken to start when the track does; else give --start")
        return float(track.times[0])
    try:
        found, form = times.clock(option)
    except ValueError as error:
        raise RawDataError(
            f"--start={option} is no time; write 2024-02-29T12:00:00+01:00, or seconds where a CSV does"
        ) from error
    if form == times.NAIVE:
        warnings.append(
            f"--start={option} has no offset from UTC, so it is taken as UTC: write Z or +01:00 "
            "behind it"
        )
    return found


def _gpx(path: pathlib.Path, text: str) -> tuple[np.ndarray, bool, int]:
    """Times, latitudes, longitudes and altitudes `(n, 4)` of a GPX file's tracks, True, and naive times."""
    try:
        import gpxpy
    except ImportError as error:
        raise RawDataError(
            f"--track={path} needs gpxpy; install it: pip install 'vprjax[video]'"
        ) from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # what entities may swell, no GPX file needs
        raise RawDataError(f"--track={path} declares XML entities; export the track again")
    try:
        found = gpxpy.parse(text)
    except Exception as error:  # gpxpy's own, and ValueError at a damaged number
        raise RawDataError(
            f"--track={path} is no readable GPX file ({error}); export it again"
        ) from error
    parts = [
        [point for point in segment.points if point.time is not None]
        for track in found.tracks
        for segment in track.segments
    ]
    _check_apart(path, parts)
    timed = [point for part in parts for point in part]
    points = [
        (
            times.utc(point.time).timestamp(),
            point.latitude,
            point.longitude,
            math.nan if point.elevation is None else point.elevation,
        )
        for point in timed
    ]
    if not points:
        raise RawDataError(
            f"--track={path} holds no track points with a time; record one with times"
        )
    rows = np.array(points, np.float64)
    if not (np.abs(rows[:, 1:3]) <= (zones.FARTHEST_NORTH, 180)).all():  # NaN neither
        raise RawDataError(
            f"--track={path} has a point beyond {zones.FARTHEST_NORTH} degrees of latitude or 180 of "
            "longitude; remove it"
        )
    return rows, True, sum(point.time.tzinfo is None for point in timed)


def _check_apart(path: pathlib.Path, parts: list[list]) -> None:
    """Raises RawDataError where two segments run at one time: a position would jump between them."""
    spans = []
    for number, part in enumerate(parts, 1):
        clock = [times.utc(point.time).timestamp() for point in part]
        spans += [(min(clock), max(clock), number)] if clock else []
    for (_, end, one), (start, _, two) in itertools.pairwise(sorted(spans)):
        if start < end:
            moment = datetime.datetime.fromtimestamp(start, datetime.UTC)
            raise RawDataError(
                f"--track={path}: segments {one} and {two} both run at {moment:%Y-%m-%dT%H:%M:%SZ}, as two "
                "receivers would; keep one of them"
            )


def _table(path: pathlib.Path, text: str) -> tuple[np.ndarray, bool, int]:
    """Times, two coordinates and no altitudes `(n, 4)` of a CSV, whether degrees, and naive times."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    rows, problems, naive = [], [], 0
    try:
        header = [name.strip() for name in next(reader, [])]
        pairs = [pair for pair in (("x", "y"), ("lat", "lon")) if set(pair) <= set(header)]
        if "time" not in header or len(pairs) != 1:
            raise RawDataError(
                f"--track={path}: its columns are {','.join(header)[:80]}; give {COLUMNS}"
            )
        places = [header.index(name) for name in ("time", *pairs[0])]
        degrees = pairs[0] == ("lat", "lon")
        most = (zones.FARTHEST_NORTH, 180) if degrees else (FARTHEST, FARTHEST)
        for fields in filter(None, reader):
            row, form, fault = _point(fields, places, most)
            rows.append(row)
            naive += form == times.NAIVE
            if fault:
                problems.append(f"{path}:{reader.line_num}: {fault}; correct or remove the row")
    except csv.Error as error:
        raise RawDataError(f"{path}:{reader.line_num}: broken CSV ({error})") from error
    if problems:
        raise RawDataError(*problems)
    return np.array(rows, np.float64).reshape(-1, 4), degrees, naive


def _point(
    fields: list[str], places: list[int], most: tuple[float, float]
) -> tuple[tuple, str, str]:
    """Time, two coordinates and no altitude of a row, the time's form, and what is wrong or ""."""
    try:
        time, *place = (fields[i] for i in places)
        place = [float(text) for text in place]
        seconds, form = times.clock(time)
    except (IndexError, ValueError) as error:
        return (), "", f"time and position are no numbers ({error})"
    if abs(seconds) > LATEST / 1e6:
        return (), "", f"time is {time}; {remedies.clock(seconds)}"
    if not all(abs(value) <= bound for value, bound in zip(place, most, strict=True)):  # NaN too
        return (), "", f"{place} is beyond {most[0]:g}, {most[1]:g}"
    return (seconds, *place, math.nan), form, ""
