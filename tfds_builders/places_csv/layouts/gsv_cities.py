"""GSV-Cities: `Dataframes/<City>.csv` and `Images/<City>/`, places to train on and no queries."""

import math
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, from_north
from tfds_builders.frames import Frames
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import csv_rows
from tfds_builders.places_csv.layouts.folders import is_hidden, remedy
from tfds_builders.places_csv.layouts.variant import Layout, Told

COLUMNS = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")
# Writers print latitude and longitude with other digits, and northdeg as 015, 15.0 or nan.
NAME = re.compile(
    r"[^_]+_(\d+)_(\d+)_(\d+)_(\d+(?:\.0)?|nan)_-?[\d.e-]+_-?[\d.e-]+_(.+)\.jpe?g", re.IGNORECASE
)
PLACES = 10**5  # names hold the place modulo this


class Key(NamedTuple):
    """What a row and its image's name share, besides numbers that no two writers print alike."""

    place: int
    year: int
    month: int
    north: int | None
    panorama: str


def read_gsv_cities(folder: pathlib.Path, told: Told) -> dict[str, Frames]:
    """Reads the tables of all cities, or of those in the choice `cities`, as the split `train`.

    Latitudes and longitudes become metres of the city's UTM zone; of several zones see
    `zones.side_by_side`. `northdeg` is the heading, `<city>/<place_id>` the label. Rows keep their order.

    Raises:
      RawDataError: names every city without a table, bad row, and table whose images are missing.
    """
    tables = {
        path.stem: path
        for path in sorted((folder / "Dataframes").glob("*.csv"))
        if not is_hidden(path.name)
    }
    asked = [city.strip() for city in told.choices["cities"].split(",") if city.strip()]
    unknown = [city for city in asked if city not in tables]
    if unknown or not tables:
        do = remedy(folder, ["Dataframes/*.csv"], "unpack the dataset there")
        raise RawDataError(
            f"{folder}/Dataframes holds no table {csv_rows.some(unknown or ['CITY'])}.csv; "
            + (f"it holds {', '.join(tables)}" if tables else do)
        )
    problems: list[str] = []
    cities = {}
    for city in asked or tables:
        cities[city] = _city(folder, tables[city], told, problems)
    if problems:
        raise RawDataError(*problems)
    return {"train": _joined(cities, told)}


def _city(folder: pathlib.Path, table: pathlib.Path, told: Told, problems: list[str]):
    """The frames of a city, their zone; adds what is wrong with its rows and images to `problems`."""
    inside = f"Images/{table.stem}"
    images = _images(folder / inside)
    frames, degrees, missing = [], [], []
    for where, row in csv_rows.read(table, COLUMNS):
        try:
            key, place = _key(where, row), _degrees(where, row)
        except RawDataError as error:
            problems += error.problems
            continue
        name = images.pop(key, None)
        if name is None:
            missing.append(f"line {where.rpartition(':')[2]} (place {key.place}, {key.panorama})")
            continue
        degrees.append(place)
        frames.append(
            Frame(
                image_id=f"{inside}/{name}",
                position=(math.nan, math.nan),
                heading=math.nan if key.north is None else from_north(key.north),
                label=f"{row['city_id']}/{row['place_id']}",
                source=f"{folder}/{inside}/{name}",  # a path takes twice the memory
            )
        )
    if missing:
        problems.append(
            f"{table}: {len(missing):,} rows have no image in {inside}: "
            f"{csv_rows.some(missing)}; unpack that city's images there"
        )
    if images:
        told.warnings.append(
            f"{table.stem}: {len(images):,} images are in no row of the table and are left out, e.g. "
            f"{next(iter(images.values()))}"
        )
    if not frames:
        problems.append(f"{table} names no image; put the dataset's own table there")
        return Frames.of([]), np.empty((0, 2)), None
    return Frames.of(frames), *zones.project(
        np.array(degrees), [f.image_id for f in frames], told.warnings
    )


def _images(folder: pathlib.Path) -> dict[Key, str]:
    """File names of a city's images; one listing, since half a million look-ups take minutes."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise RawDataError(
            f"{folder} cannot be read ({error.strerror}); unpack the city's images there, or name "
            'the other cities in "choices": {"cities": "A,B"}'
        ) from error
    found = {}
    for name in names:
        if match := NAME.fullmatch(name):
            place, year, month, north, panorama = match.groups()
            north = None if north.lower() == "nan" else int(float(north))
            found[Key(int(place), int(year), int(month), north, panorama)] = name
    return found


def _key(where: str, row: csv_rows.Row) -> Key:
    place, year, month = (csv_rows.whole(where, k, row[k]) for k in ("place_id", "year", "month"))
    known = row["northdeg"].strip().lower() not in ("", "nan")
    north = csv_rows.whole(where, "northdeg", row["northdeg"]) if known else None
    return Key(place % PLACES, year, month, north, row["panoid"])


def _degrees(where: str, row: csv_rows.Row) -> tuple[float, float]:
    limits = {"lat": zones.FARTHEST_NORTH, "lon": 180}
    return tuple(csv_rows.number(where, key, row[key], most) for key, most in limits.items())


def _joined(cities: dict, told: Told) -> Frames:
    """The frames of all cities, one after the other, with positions in metres."""
    told.notes["cities"] = {city: zone.crs for city, (_, _, zone) in cities.items()}
    used = {zone for _, _, zone in cities.values()}
    if len(used) == 1:
        told.crs = used.pop().crs
    else:
        told.notes["positions"] = zones.SIDE_BY_SIDE
        told.warnings.append(
            f"{len(cities)} cities lie in {len(used)} UTM zones, so {zones.SIDE_BY_SIDE}"
        )
    parts: list[Frames] = []
    for held, positions, zone in cities.values():
        if not told.crs:
            positions = zones.side_by_side(positions, zone)
        parts.append(held.placed(positions, sum(map(len, parts))))
    return Frames.joined(parts)


LAYOUT = Layout(
    title="GSV-Cities",
    read=read_gsv_cities,
    position_unit="m",
    pose_source="latitude and longitude of the panoramas in Dataframes/*.csv",
    untimed="the tables' rows",
    choices={"cities": ""},
)
