"""Photos described by `mapillary_image_description.json`, as mapillary_tools writes it."""

import datetime
import json
import math
import pathlib

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, from_north
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.exif import EPOCH, Photo
from tfds_builders.places_csv.layouts import photos
from tfds_builders.places_csv.layouts.csv_rows import number, some
from tfds_builders.places_csv.layouts.folders import check_apart, split_name
from tfds_builders.places_csv.layouts.variant import Layout, Told

TABLE = "mapillary_image_description.json"


def read_mapillary(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads the photos that the table describes; one folder is one split, in the order of time.

    `filename` may be absolute, of another machine: its last parts then lead to a file below `folder`.
    `MAPCompassHeading.TrueHeading` is the heading, `MAPCaptureTime` the time in UTC. Photos with an error
    and videos are left out; `told` takes each.

    Raises:
      RawDataError: the table is missing or damaged; names every photo that is missing or described wrong.
    """
    entries = _entries(folder / TABLE)
    found, problems = [], []
    for count, entry in enumerate(entries):
        where = f"{folder / TABLE}, entry {count}"
        name = entry.get("filename")
        if not isinstance(name, str) or not name:
            problems.append(f"{where}: it has no filename; write the table again")
            continue
        path = _below(folder, name)
        if path is None and not _fault(entry):
            problems.append(f"{where}: {name} is not below {folder}; put the photos there")
            continue
        inside = path.relative_to(folder) if path else pathlib.PurePath(pathlib.PurePath(name).name)
        photo = Photo(inside.as_posix(), split_name(inside.parts[:-1]), path, _fault(entry))
        try:
            found.append(photo if photo.fault else _described(where, entry, photo))
        except RawDataError as error:
            problems += error.problems
    if problems:
        raise RawDataError(*problems)
    if all(photo.fault for photo in found):
        raise RawDataError(
            f"{folder / TABLE} describes no photo but {len(found):,} with an error; run mapillary_tools "
            "process again"
        )
    check_apart(pathlib.PurePath(photo.image).parts[:-1] for photo in found)
    return photos.located(found, told)


def _entries(table: pathlib.Path) -> list[dict]:
    try:
        entries = json.loads(table.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise RawDataError(
            f"{table} cannot be read ({error}); run mapillary_tools process on the photos' folder"
        ) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RawDataError(f"{table} is no list of descriptions; run mapillary_tools process again")
    return sorted(entries, key=lambda entry: str(entry.get("filename")))


def _fault(entry: dict) -> str:
    """Why an entry gives no photo, or ""."""
    if "error" in entry:
        kind = entry["error"].get("type", "") if isinstance(entry["error"], dict) else ""
        return f"mapillary_tools' error {kind}".strip()
    return "" if entry.get("filetype", "image") == "image" else "a video's description"


def _below(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file below `folder` at the longest end of a path."""
    windows = [pathlib.PureWindowsPath(name)] if "\\" in name and "/" not in name else []
    for whole in (pathlib.PurePath(name), *windows):
        parts = [part for part in whole.parts if part not in (whole.anchor, "..")]
        for first in range(len(parts)):
            path = folder.joinpath(*parts[first:])
            if path.is_file():
                return path
    return None


def _described(where: str, entry: dict, photo: Photo) -> Photo:
    """The photo with its place, heading, altitude and time; raises RawDataError."""
    missing = [k for k in ("MAPLatitude", "MAPLongitude", "MAPCaptureTime") if k not in entry]
    if missing:
        raise RawDataError(f"{where}: it has no {some(missing)}; run mapillary_tools process again")
    limits = {"MAPLatitude": zones.FARTHEST_NORTH, "MAPLongitude": 180}
    degrees = tuple(number(where, key, entry[key], most) for key, most in limits.items())
    compass = entry.get("MAPCompassHeading") or {}
    turn = number(where, "TrueHeading", compass["TrueHeading"]) if compass else math.nan
    altitude = entry.get("MAPAltitude")
    return photo._replace(
        degrees=degrees,
        heading=math.nan if math.isnan(turn) else from_north(turn),
        altitude=math.nan if altitude is None else number(where, "MAPAltitude", altitude),
        utc=_micros(where, entry["MAPCaptureTime"]),
    )


def _micros(where: str, text) -> int:
    """Microseconds of `YYYY_MM_DD_hh_mm_ss_mmm`, UTC."""
    try:
        moment = datetime.datetime.strptime(f"{text}000 +0000", "%Y_%m_%d_%H_%M_%S_%f %z")
    except ValueError as error:
        raise RawDataError(
            f"{where}: MAPCaptureTime is {text!r}, no YYYY_MM_DD_hh_mm_ss_mmm; run mapillary_tools "
            "process again"
        ) from error
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


LAYOUT = Layout(
    title=f"photos with a {TABLE}",
    read=read_mapillary,
    position_unit="m",
    pose_source=f"latitude and longitude in {TABLE}",
    timed=True,
    table=TABLE,
)
