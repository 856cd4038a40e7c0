"""The Nordland railway: folders of seasons, in the three ways that people count it."""

import pathlib
from typing import NamedTuple

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts import aligned
from tfds_builders.places_csv.layouts.csv_rows import some
from tfds_builders.places_csv.layouts.folders import image_files, remedy
from tfds_builders.places_csv.layouts.variant import Layout, LeftOut, Protocol, Told

LIST = "cleanImageNames.txt"  # names of the frames outside tunnels and stops
ALL = 27_592  # frames in it


class Counting(NamedTuple):
    """The seasons of both sides, every how many frames one is a query, and the tolerance in frames."""

    database: str
    queries: str
    every: int
    frames: int
    source: str

    def protocol(self) -> Protocol:
        """The same in words."""
        which = "all" if self.every == 1 else f"every {self.every}th frame"
        return Protocol(
            positives=f"a {self.database} frame at most {self.frames} frames away",
            queries=f"{self.queries}, {which}; frames that {LIST} does not name are left out",
            source=self.source,
            radius=float(self.frames),
        )


COUNTINGS = {
    "nordland_10_frames": Counting(
        "summer",
        "winter",
        1,
        10,
        "VPR-datasets-downloader and Patch-NetVLAD: 25 m at 2.38 m a frame",
    ),
    "nordland_every_10th_1_frame": Counting(
        "summer", "winter", 10, 1, "VPR-datasets-downloader, download_nordland_subset.py"
    ),
    "nordland_vpr_bench": Counting("winter", "summer", 10, 1, "VPR-Bench: 2,760 queries, 10q +- 1"),
}


def read_nordland(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads `<season>/images-00001.png` of two seasons as the splits `database` and `queries`.

    A frame's position is `(number, 0)`, where the number counts the frames that `cleanImageNames.txt`
    names, in the order of their names; without that file all frames.

    Raises:
      RawDataError: a season is missing, or two seasons hold other frames.
    """
    counting = COUNTINGS[told.protocol]
    seasons = {}
    for split, season in (("database", counting.database), ("queries", counting.queries)):
        if not (folder / season).is_dir():
            do = remedy(folder, [season], "unpack that season there")
            raise RawDataError(
                f"{folder} holds no folder {season}, which {told.protocol} needs; {do}"
            )
        seasons[season] = _frames(folder, season, split, told)
    _check_alike(folder, seasons)
    database, queries = (_posed(folder, paths) for paths in seasons.values())
    reason = f"no {counting.every}th frame, so no query"
    told.left_out += [
        LeftOut("queries", frame.image_id, reason)
        for frame in queries
        if frame.timestamp % counting.every
    ]
    return {"database": database, "queries": queries[:: counting.every]}


def _frames(folder: pathlib.Path, season: str, split: str, told: Told) -> list[pathlib.Path]:
    """The images of a season in the order of their numbers, those of the list where there is one."""
    paths = image_files(folder / season, told.warnings)
    numbers = aligned.frame_numbers(paths, told.warnings)
    paths = sorted(paths, key=numbers.get)
    if not (folder / LIST).is_file():
        told.warnings.append(
            f"{season}: {folder}/{LIST} is not there, so all {len(paths):,} frames count; the protocol "
            f"counts the {ALL:,} that it names"
        )
        return paths
    listed = (folder / LIST).read_text(encoding="utf-8-sig").split()
    if not listed:
        raise RawDataError(f"{folder / LIST} is empty; put the dataset's there, or remove it")
    names = {pathlib.PurePath(name).name for name in listed}
    absent = names - {path.name for path in paths}
    stems = {pathlib.PurePath(name).stem for name in absent}  # some keep a season as JPEG
    chosen = [path for path in paths if path.name in names or path.stem in stems]
    missing = sorted(stems - {path.stem for path in chosen})
    if missing:
        raise RawDataError(
            f"{folder / season} lacks {len(missing):,} of the {len(names):,} frames of {LIST}: "
            f"{some(missing)}; unpack the whole season there"
        )
    if twice := len(chosen) - len({path.stem for path in chosen}):
        raise RawDataError(
            f"{folder / season} holds {twice:,} frames of {LIST} twice, under two suffixes; "
            "keep one of each"
        )
    kept = set(chosen)
    told.left_out += [
        LeftOut(split, path.relative_to(folder).as_posix(), f"not in {LIST}")
        for path in paths
        if path not in kept
    ]
    return chosen


def _check_alike(folder: pathlib.Path, seasons: dict[str, list[pathlib.Path]]) -> None:
    """Raises RawDataError where the seasons' frames have other names, so that no number is one place."""
    (one, ours), (other, theirs) = seasons.items()
    stems = {path.stem for path in ours} ^ {path.stem for path in theirs}
    if stems:
        raise RawDataError(
            f"{folder}: {len(stems):,} frames lie in one of {one} and {other} alone: "
            f"{some(sorted(stems))}; the number of a frame would mean two places"
        )


def _posed(folder: pathlib.Path, paths: list[pathlib.Path]) -> list[Frame]:
    return [
        Frame(
            image_id=path.relative_to(folder).as_posix(),
            position=(float(number), 0.0),
            timestamp=number,
            source=path,
        )
        for number, path in enumerate(paths)
    ]


LAYOUT = Layout(
    title="the Nordland railway",
    read=read_nordland,
    position_unit="frames",
    pose_source="frame numbers of the aligned seasons",
    table=LIST,
    protocols={name: counting.protocol() for name, counting in COUNTINGS.items()},
)
