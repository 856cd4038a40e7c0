"""Writes a small GSV-Cities in its real form: tables, and images named by the official loader's rule."""

import pathlib

import cv2

from tests.helpers.raw_places import image

HEADER = "place_id,year,month,northdeg,city_id,lat,lon,panoid"
# The first five are the rows that the dataset's own page shows; the others are made up in its form.
LONDON = """\
130,2018,4,15,London,51.4861,-0.0895151,6jFjb3wGyCkcBfq4k559ag
6793,2016,7,2,London,51.5187,-0.160767,Ff3OtsS4ihGSPdPjtlpEUA
9292,2018,1,289,London,51.531,-0.12702,0t-xcCsazIGAjdNC96IF0w
7660,2015,6,97,London,51.5233,-0.158693,zFbmpj8jt8natu7IPYrh_w
8713,2008,9,348,London,51.5281,-0.127114,W3KMPec54NBqLMzmZmGv-Q
8713,2009,9,360,London,51.500000,-0.1271140000000000012,_W3K_MPec-NBqLMzm_"""
BOSTON = "13,2012,5,,Boston,42.3601,-71.0589,bbbb\n13,2013,5,7.0,Boston,42.3602,-71.0588,cccc"


def rows(text: str) -> list[list[str]]:
    """The fields of a table's lines."""
    return [line.split(",") for line in text.splitlines()]


def loaders_name(fields: list[str], north: str | None = None) -> str:
    """The file name that the official loader makes of a row, but for `north` where a writer differs."""
    place, year, month, northdeg, city, lat, lon, panoid = fields
    north = north or f"{int(northdeg):03d}"
    numbers = f"{int(place) % 10**5:07d}_{int(year):04d}_{int(month):02d}_{north}"
    return f"{city}_{numbers}_{float(lat)}_{float(lon)}_{panoid}"


def write(raw: pathlib.Path, tables: dict[str, str], suffix: str = ".jpg") -> None:
    """Writes tables and images; a row without northdeg has `nan` in its image's name, as loaders write."""
    (raw / "Dataframes").mkdir(parents=True)
    for number, (city, text) in enumerate(tables.items()):
        (raw / "Dataframes" / f"{city}.csv").write_text(f"{HEADER}\n{text}\n")
        (raw / "Images" / city).mkdir(parents=True)
        for i, fields in enumerate(rows(text)):
            north = {"": "nan", "7.0": "7.0"}.get(fields[3])
            path = raw / "Images" / city / (loaders_name(fields, north) + suffix)
            assert cv2.imwrite(str(path), image(100 * number + i))


def grid(count: int) -> str:
    """Rows of made-up places about 100 m apart, two images of each, for training."""
    rows = [
        f"{i},201{year},5,{40 * year},London,{51.5 + i / 1000!r},-0.125,pano{i}x{year}"
        for i in range(count)
        for year in (1, 2)
    ]
    return "\n".join(rows)
