"""Mapillary Street-Level Sequences: `train_val/<city>/{query,database}/` and `test/<city>/...`."""

import collections
import math
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, from_north
from tfds_builders.frames import Frames
from tfds_builders.places_csv import zones
from tfds_builders.places_csv.layouts import csv_rows, msls_tables, windows
from tfds_builders.places_csv.layouts.variant import Layout, LeftOut, Protocol, Told

VALIDATION = ("cph", "sf")  # of the cities in train_val; the others are to train on
SUBTASKS = ("all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d")
RADIUS = 25.0  # metres of the tasks of sequences, the default of evaluate.py --threshold
SAME = 1.0  # metres that easting and northing may lie from the projected longitude and latitude
WINDOW = 3  # frames, the default of evaluate.py --seq-length
TASKS = {  # frames of a query and of an answer, by protocol
    "msls_25m_im2seq": (1, WINDOW),
    "msls_25m_seq2im": (WINDOW, 1),
    "msls_25m_seq2seq": (WINDOW, WINDOW),
}
RAW = ("key", "lon", "lat", "ca", "pano")
POSTPROCESSED = ("key", "easting", "northing")


class Side(NamedTuple):
    """One side of a city: frames in the tables' order, their positions `(n, 2)` and zone.

    In a task of sequences `middles` `(m,)` are the middle frames of its windows of `length` frames. `right`
    then holds the right windows of the other side by query.
    """

    frames: Frames
    positions: np.ndarray
    zone: zones.Zone | None  # None where positions are kept secret
    length: int = 0  # 0 where images ask and answer
    middles: np.ndarray = np.zeros(0, np.int64)
    right: Sequence[list[int]] = ()


def read_msls(folder: pathlib.Path, told: Told) -> dict[str, Frames]:
    """Reads all cities, or those in the choice `cities`, as `train_`, `val_` and `test_` splits.

    Left out are panoramas; of val and test, images outside the choice `subtask`; of val, queries without a
    database image of their city within the protocol's radius. Test images have no position. `ca` is the
    heading, `<city>/<sequence_key>` the label. Rows keep their order.

    Under a protocol of `TASKS` windows ask and answer in val and test: frames in a row of one sequence,
    whose middle one is in the subtask and no panorama. All frames of these are kept; the metadata's
    `windows` and `positives` tell which they are and which are right.

    Raises:
      RawDataError: names every city, table or row that is missing or wrong.
    """
    if told.choices["subtask"] not in SUBTASKS:
        raise RawDataError(
            f"config key 'choices' has subtask {told.choices['subtask']!r}; known: {', '.join(SUBTASKS)}"
        )
    problems: list[str] = []
    cities: dict[pathlib.Path, dict[str, Side]] = {}
    for city in _cities(folder, told.choices["cities"]):
        try:
            database = _side(folder, city / "database", told)
            query = _side(folder, city / "query", told, database.zone)
            cities[city] = {"database": database, "query": _answerable(city, query, database, told)}
        except RawDataError as error:
            problems += error.problems
    if problems:
        raise RawDataError(*problems)
    return _splits(cities, told)


def _cities(folder: pathlib.Path, asked: str) -> list[pathlib.Path]:
    """The folders of the cities, sorted; raises RawDataError where one is not there."""
    there = {
        path.name: path
        for part in ("train_val", "test")
        for path in sorted((folder / part).glob("*"))
        if (path / "query").is_dir() or (path / "database").is_dir()
    }
    names = [name.strip() for name in asked.split(",") if name.strip()] or list(there)
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise RawDataError(
            f"{folder} holds no train_val/{(unknown or ['CITY'])[0]}/database; its cities are "
            f"{', '.join(there) or 'none'}: give the folder that holds train_val or test"
        )
    return [there[name] for name in names]


def _part(city: pathlib.Path) -> str:
    if city.parent.name == "test":
        return "test"
    return "val" if city.name in VALIDATION else "train"


def _side(
    root: pathlib.Path, folder: pathlib.Path, told: Told, zone: zones.Zone | None = None
) -> Side:
    """The images of one side of a city that are no panoramas, and of the subtask in val and test."""
    part, city = _part(folder.parent), folder.parent.name
    sequences, numbers = msls_tables.sequences(folder / "seq_info.csv")
    length = _length(part, folder.name, told)
    middles = np.zeros(0, np.int64)
    raw = None if part == "test" else msls_tables.by_key(folder / "raw.csv", RAW)
    wanted = None if part == "train" else msls_tables.subtask(folder, told.choices["subtask"])
    reasons = [_reason(key, wanted, raw, told) for key in sequences]
    if length > 1:
        middles, reasons = windows.kept(list(sequences.values()), numbers, reasons, length)
    elif length:
        middles = np.arange(reasons.count(""))
    told.left_out += [
        LeftOut(f"{part}_{folder.name}", _image(root, folder, key), reason)
        for key, reason in zip(sequences, reasons, strict=True)
        if reason
    ]
    kept = [key for key, reason in zip(sequences, reasons, strict=True) if not reason]
    _check_images(folder, kept)
    positions = np.full((len(kept), 2), np.nan)
    if raw and kept:
        positions, zone = _positions(folder, kept, raw, told, zone)
    inside = folder.relative_to(root).as_posix()
    labels = {name: f"{city}/{name}" for name in set(sequences.values())}
    frames = [
        Frame(
            image_id=f"{inside}/images/{key}.jpg",
            position=(math.nan, math.nan),
            heading=_heading(raw, key) if raw else math.nan,
            label=labels[sequences[key]],
            source=f"{folder}/images/{key}.jpg",  # a path takes twice the memory
        )
        for key in kept
    ]
    return Side(Frames.of(frames), positions, zone, length, middles)


def _reason(key: str, wanted: set[str] | None, raw: msls_tables.Table | None, told: Told) -> str:
    """Why an image neither asks nor answers, or ""."""
    if wanted is not None and key not in wanted:
        return f"not in the subtask {told.choices['subtask']}"
    return "a panorama" if raw and key in raw.rows and raw.true(key, "pano") else ""


def _length(part: str, side: str, told: Told) -> int:
    """Frames of a window of this side; 0 where images ask and answer, as they do in training."""
    lengths = TASKS.get(told.protocol)
    return lengths[side == "database"] if lengths and part != "train" else 0


def _image(root: pathlib.Path, folder: pathlib.Path, key: str) -> str:
    return (folder / "images" / f"{key}.jpg").relative_to(root).as_posix()


def _check_images(folder: pathlib.Path, keys: list[str]) -> None:
    """Raises RawDataError where images are missing; one listing, since a look-up each takes minutes."""
    there = set(os.listdir(folder / "images")) if (folder / "images").is_dir() else set()
    missing = [f"{key}.jpg" for key in keys if f"{key}.jpg" not in there]
    if missing:
        raise RawDataError(
            f"{folder}/images lacks {len(missing):,} of {len(keys):,} images of the tables: "
            f"{csv_rows.some(missing)}; unpack all image archives there"
        )


def _heading(raw: msls_tables.Table, key: str) -> float:
    cell = raw.cell(key, "ca")
    known = cell[2].strip().lower() not in ("", "nan")
    return from_north(csv_rows.number(*cell)) if known else math.nan


def _positions(
    folder, keys, raw: msls_tables.Table, told: Told, zone: zones.Zone | None
) -> tuple[np.ndarray, zones.Zone]:
    """Eastings and northings `(n, 2)` in `zone`, else in that of most images, which no table names."""
    table = msls_tables.by_key(folder / "postprocessed.csv", POSTPROCESSED)
    missing = [key for key in keys if key not in table.rows or key not in raw.rows]
    if missing:
        raise RawDataError(
            f"{folder}: raw.csv or postprocessed.csv lacks {len(missing):,} keys of seq_info.csv: "
            f"{csv_rows.some(missing)}; put the dataset's own tables there"
        )
    given = table.numbers(keys, POSTPROCESSED[1:], 1e8)
    degrees = raw.numbers(keys, ("lat", "lon"), 180)
    if np.abs(degrees[:, 0]).max() > zones.FARTHEST_NORTH:
        raise RawDataError(
            f"{folder}/raw.csv: lat goes up to {np.abs(degrees[:, 0]).max():g} degrees; are lat and lon in "
            "each other's column?"
        )
    own = [zones.at(*place) for place in degrees.tolist()]
    zone = zone or collections.Counter(own).most_common(1)[0][0]
    inside = zones.onto(degrees, zone)
    away = np.linalg.norm(given - inside, axis=1)
    for other in sorted(set(own) - {zone}):  # a city on a zone's border
        there = np.array([found == other for found in own]) & (away > SAME)
        moved = there & (np.linalg.norm(given - zones.onto(degrees, other), axis=1) <= SAME)
        given[moved], away[moved] = inside[moved], 0.0
        if moved.any():
            told.warnings.append(
                f"{folder.parent.name} {folder.name}: {np.count_nonzero(moved):,} of {len(keys):,} images "
                f"are given in UTM zone {other}; they are projected into zone {zone} as the others are"
            )
    wrong = np.flatnonzero(away > SAME)
    if len(wrong):
        told.warnings.append(
            f"{folder.parent.name} {folder.name}: easting and northing of {len(wrong):,} of {len(keys):,} "
            f"images lie up to {away[wrong].max():,.0f} m from lon and lat in zone {zone}, e.g. "
            f"{keys[wrong[0]]}: a table is of another city, or lon and lat are swapped"
        )
    return given, zone


def _answerable(city: pathlib.Path, query: Side, database: Side, told: Told) -> Side:
    """The queries of a city, in val without those that have no right answer."""
    if _part(city) != "val" or not query.frames:
        return query
    if not database.frames:
        told.left_out += [
            LeftOut("val_query", frame.image_id, f"{city.name} has no database image")
            for frame in query.frames
        ]
        none = {"positions": query.positions[:0], "middles": query.middles[:0]}
        return query._replace(frames=query.frames[:0], **none)
    if query.length:
        return _answerable_windows(query, database, told)
    from scipy.spatial import cKDTree  # slow to import

    radius = LAYOUT.protocols[told.protocol].radius
    near = cKDTree(database.positions).query(query.positions)[0] <= radius
    told.left_out += [
        LeftOut("val_query", frame.image_id, f"no database image within {radius:g} m")
        for frame, found in zip(query.frames, near, strict=True)
        if not found
    ]
    return Side(query.frames.take(near), query.positions[near], query.zone)


def _answerable_windows(query: Side, database: Side, told: Told) -> Side:
    """The windows that have a right answer, and the frames in these."""
    ours, theirs = ((s.positions, s.middles, s.length) for s in (query, database))
    right = windows.near(ours, theirs, RADIUS)
    middles = query.middles[[bool(found) for found in right]]
    inside = windows.frames(middles, query.length, len(query.frames))
    reason = f"in no window with a database image within {RADIUS:g} m"
    told.left_out += [
        LeftOut("val_query", query.frames[row].image_id, reason) for row in np.flatnonzero(~inside)
    ]
    return query._replace(
        frames=query.frames.take(inside),
        positions=query.positions[inside],
        middles=windows.renumbered(middles, inside),
        right=[found for found in right if found],
    )


def _splits(cities: dict[pathlib.Path, dict[str, Side]], told: Told) -> dict[str, Frames]:
    """The sides of all cities as splits, in one zone or side by side."""
    every = [(city, side, held) for city, sides in cities.items() for side, held in sides.items()]
    used = {held.zone for _, _, held in every if held.zone}
    told.notes["cities"] = {city.name: held.zone.crs for city, _, held in every if held.zone}
    if len(used) == 1:
        told.crs = used.pop().crs
    elif used:
        told.notes["positions"] = zones.SIDE_BY_SIDE
        told.warnings.append(f"the cities lie in {len(used)} UTM zones, so {zones.SIDE_BY_SIDE}")
    if told.protocol in TASKS:
        _tell_windows(every, told)
    parts: dict[str, list[Frames]] = {}
    for city, side, held in every:
        apart = held.zone and not told.crs
        positions = zones.side_by_side(held.positions, held.zone) if apart else held.positions
        split = parts.setdefault(f"{_part(city)}_{side}", [])
        split.append(held.frames.placed(positions, sum(map(len, split))))
    splits = {name: Frames.joined(held) for name, held in parts.items()}
    empty = [name for name, frames in splits.items() if not frames]
    if empty:
        raise RawDataError(
            f"{next(iter(cities)).parent}: no image is left in {', '.join(empty)}; choose another subtask "
            "or other cities"
        )
    return splits


def _tell_windows(every: list[tuple[pathlib.Path, str, Side]], told: Told) -> None:
    """Writes the windows of all cities, and the right ones of val, to the metadata's notes."""
    found: dict[str, dict] = {}
    frames: collections.Counter = collections.Counter()
    lists, first = [], 0
    for city, side, held in every:  # a city's database comes before its queries
        split = f"{_part(city)}_{side}"
        if held.length:
            own = found.setdefault(split, {"length": held.length, "middles": []})["middles"]
            first = len(own) if side == "database" else first
            own += (held.middles + frames[split]).tolist()
            lists += [[first + number for number in right] for right in held.right]
        frames[split] += len(held.frames)
    told.notes["windows"] = found
    if lists:
        told.notes["positives"] = {"val_query": {"reference": "val_database", "lists": lists}}


def _task(protocol: str) -> Protocol:
    asked, answered = (f"{n} frames in a row" if n > 1 else "one image" for n in TASKS[protocol])
    return Protocol(
        positives=f"{answered} of the city's database, with one within {RADIUS:g} m of one of the query's",
        queries=(
            f"{asked}, of which the middle one is no panorama and in the subtask, where there is such an "
            "answer; several frames' descriptor is the mean of theirs"
        ),
        source="mapillary_sls, evaluate.py --task="
        + protocol.rpartition("_")[2]
        + ", its defaults",
        radius=None,  # the metadata list the right answers
    )


def _protocol(radius: float, source: str) -> Protocol:
    return Protocol(
        positives=f"a database image of the city within {radius:g} m, whatever its heading",
        queries=(
            "val queries that are no panorama, are in the subtask and have such an image; the others are "
            "left out"
        ),
        source=source,
        radius=radius,
    )


LAYOUT = Layout(
    title="Mapillary Street-Level Sequences",
    read=read_msls,
    position_unit="m",
    pose_source="easting and northing in postprocessed.csv",
    untimed="the tables' rows",
    unlocated=True,
    protocols={
        "msls_25m": _protocol(25.0, "mapillary_sls, the default of evaluate.py --threshold"),
        "msls_10m": _protocol(10.0, "mapillary_sls, the default of the class MSLS"),
        **{name: _task(name) for name in TASKS},
    },
    choices={"cities": "", "subtask": "all"},
)
