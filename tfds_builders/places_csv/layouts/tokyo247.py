"""Tokyo 24/7: `tokyo247.mat`, its Street View crops, and queries with a CSV file each."""

import pathlib
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import dbstruct
from tfds_builders.places_csv.layouts.csv_rows import number, some
from tfds_builders.places_csv.layouts.variant import Layout, Protocol, Told

TABLE = "tokyo247.mat"
ZONE = zones.Zone(54, north=True)
LIGHT = ("day", "sunset", "night")  # of three queries that follow each other


class Queries(NamedTuple):
    """The folder of a protocol's queries and their count."""

    folder: str
    count: int


QUERIES = {
    "tokyo247_315": Queries("247query_subset_v2", 315),
    "tokyo247_1125": Queries("247query_v3", 1125),
}


def read_tokyo247(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads the table's database and the protocol's queries as the splits `database` and `queries`.

    The table names `.jpg` where the crops are `.png`. A query's CSV file begins with
    `file,latitude,longitude`; its label is day, sunset or night. Nothing tells a compass heading.

    Raises:
      RawDataError: a table, folder or image is missing.
    """
    table = folder / TABLE
    if not table.is_file():
        raise RawDataError(f"{table} does not exist; put the dataset's there")
    found = dbstruct.dbstruct(table)
    database: list[Frame] = []
    roots = dbstruct.image_roots(folder, [])
    problems = dbstruct.add_frames(database, table, "database", *found[:2], roots, set())
    if problems:
        raise RawDataError(*problems)
    told.crs = ZONE.crs
    return {"database": database, "queries": _queries(folder, told)}


def _queries(folder: pathlib.Path, told: Told) -> list[Frame]:
    asked = QUERIES[told.protocol]
    inside = sorted((folder / asked.folder).glob("[!.]*"))
    paths = [path for path in inside if path.suffix.lower() == ".jpg"]
    if not paths:
        raise RawDataError(
            f"{folder / asked.folder} holds no .jpg; {told.protocol} needs {asked.folder}.zip, "
            "unpacked there"
        )
    if len(paths) != asked.count:
        told.warnings.append(
            f"{asked.folder}: {len(paths):,} queries, where {told.protocol} counts {asked.count:,}"
        )
    missing = [path.name for path in paths if not path.with_suffix(".csv").is_file()]
    if missing:
        raise RawDataError(
            f"{folder / asked.folder}: {len(missing):,} queries have no .csv beside them: {some(missing)}"
        )
    positions = zones.onto(np.array([_degrees(path.with_suffix(".csv")) for path in paths]), ZONE)
    return [
        Frame(
            image_id=path.relative_to(folder).as_posix(),
            position=tuple(position),
            timestamp=count,
            label=LIGHT[count % 3] if len(paths) == asked.count else "",
            source=path,
        )
        for count, (path, position) in enumerate(zip(paths, positions.tolist(), strict=True))
    ]


def _degrees(path: pathlib.Path) -> tuple[float, float]:
    """Latitude and longitude of a query's first line."""
    fields = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].split(",")
    if len(fields) < 3:
        raise RawDataError(f"{path}:1: it is no file,latitude,longitude")
    latitude = number(f"{path}:1", "latitude", fields[1], zones.FARTHEST_NORTH)
    longitude = number(f"{path}:1", "longitude", fields[2], 180)
    if zones.at(latitude, longitude) != ZONE:
        raise RawDataError(
            f"{path}:1: {latitude:g}, {longitude:g} is not in Tokyo's UTM zone {ZONE}"
        )
    return latitude, longitude


def _protocol(name: str) -> Protocol:
    folder, count = QUERIES[name]
    return Protocol(
        positives="a database image within 25 m, whatever its heading; each crop counts",
        queries=f"all {count:,} of {folder}: day, sunset and night",
        source="NetVLAD's dbStruct for the radius; it counts panoramas, these figures count crops",
        radius=25.0,
    )


LAYOUT = Layout(
    title="Tokyo 24/7",
    read=read_tokyo247,
    position_unit="m",
    pose_source="UTM in the dbStruct; latitude and longitude of the queries' CSV files",
    untimed="the table's list and the queries' names",
    table=TABLE,
    protocols={name: _protocol(name) for name in QUERIES},
)
