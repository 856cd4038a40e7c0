"""Writes a small MSLS in its real form: made-up rows under the documented headers."""

import csv
import pathlib
from typing import NamedTuple

import cv2
import pyproj

from tests.helpers.raw_places import image

SUBTASKS = ("all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d")
CITIES = {"cph": (55.67, 12.56, 32633), "sf": (37.77, -122.42, 32610), "goa": (15.4, 73.9, 32643)}
CITIES |= {"nairobi": (-1.28, 36.82, 32737)}
HEADERS = {
    "raw": ("key", "lon", "lat", "ca", "captured_at", "pano"),
    "postprocessed": (
        "key",
        "easting",
        "northing",
        "unique_cluster",
        "control_panel",
        "night",
        "view_direction",
    ),
    "seq_info": ("key", "sequence_key", "frame_number"),
    "subtask_index": ("key", *SUBTASKS),
}


class Image(NamedTuple):
    """One image: metres east and north of the city's middle, and what the tables say of it."""

    key: str
    east: float
    north: float
    ca: float = 90.0
    pano: bool = False
    subtask: bool = True
    sequence: str = "s1"


DATABASE = [Image(f"db{i}_-{i}", 40.0 * i, 0.0, ca=359.5, sequence="d1") for i in range(5)]
DATABASE += [Image("dbPano", 400.0, 0.0, pano=True), Image("dbOut", 600.0, 0.0, subtask=False)]
QUERY = [
    Image("near", 0.0, 3.0, ca=12.25, sequence="q1"),
    Image("edge10", 40.0, 10.0),
    Image("middle", 80.0, 18.0),
    Image("edge25", 120.0, 25.0),
    Image("far", 160.0, 25.01),
    Image("pano", 0.0, 1.0, pano=True),
    Image("byPano", 400.0, 2.0),
    Image("other", 0.0, 2.0, subtask=False),
    Image("byOut", 600.0, 2.0),
]


def place(city: str, one: Image) -> tuple[float, float]:
    """Easting and northing of an image in the city's zone."""
    lat, lon, epsg = CITIES[city]
    onto = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
    x, y = (round(value, 3) for value in onto.transform(lon, lat))
    return round(x + one.east, 3), round(y + one.north, 3)


def degrees(city: str, one: Image) -> tuple[float, float]:
    """Longitude and latitude of an image."""
    back = pyproj.Transformer.from_crs(f"EPSG:{CITIES[city][2]}", "EPSG:4326", always_xy=True)
    return back.transform(*place(city, one))


def write_side(folder: pathlib.Path, city: str, images: list[Image], secret: bool = False) -> None:
    """One side of a city, whose tables are `secret` in the test set."""
    (folder / "images").mkdir(parents=True)
    for number, one in enumerate(images):
        seed = sum(map(ord, f"{folder.parent.name}{folder.name}{number}"))
        assert cv2.imwrite(str(folder / "images" / f"{one.key}.jpg"), image(7 * seed + number))
    rows = {name: [] for name in HEADERS}
    for number, one in enumerate(images):
        x, y = place(city, one)
        lon, lat = degrees(city, one)
        rows["raw"].append([one.key, repr(lon), repr(lat), one.ca, "2017-05-21", one.pano])
        rows["postprocessed"].append([one.key, repr(x), repr(y), 3, False, False, "Forward"])
        rows["seq_info"].append([one.key, one.sequence, number])
        rows["subtask_index"].append([one.key, True, *[one.subtask] * 6])
    for name in ("seq_info", "subtask_index") if secret else HEADERS:
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", *HEADERS[name]])
            writer.writerows([number, *row] for number, row in enumerate(rows[name]))


def write(raw: pathlib.Path, *cities: str) -> None:
    """The `train_val` folders of some cities."""
    for city in cities:
        write_side(raw / "train_val" / city / "database", city, DATABASE)
        write_side(raw / "train_val" / city / "query", city, QUERY)
