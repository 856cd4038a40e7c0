"""Folders of frames where the same number is the same place (Nordland, Gardens Point)."""

import collections
import pathlib
import re

from tfds_builders.frame import FARTHEST, Frame
from tfds_builders.places_csv.layouts.folders import check_apart, done, image_files, split_name
from tfds_builders.places_csv.layouts.variant import Layout, Told

TIMES = 1e20  # a number in a name may be nanoseconds, or .NET's ticks, below
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def read_aligned(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads folders of frames where the same number is the same place (Nordland, Gardens Point).

    One folder is one split. The number that runs gives an image's order and position `(number, 0)`; see
    `running`. `told` takes a warning per number that is not the last one of its names.

    Raises:
      RawDataError: names every image without a number or with another one's number.
    """
    splits: dict[str, list[Frame]] = {}
    problems = []
    every = image_files(folder, told.warnings)
    check_apart(path.relative_to(folder).parts[:-1] for path in every)
    for path in every:
        if not re.search(r"\d", path.stem):
            problems.append(f"{path}: the name holds no frame number; write one into it")
    numbers = frame_numbers([path for path in every if re.search(r"\d", path.stem)], told.warnings)
    numbered: dict[str, dict[int, pathlib.Path]] = {}
    for path, number in numbers.items():
        split = split_name(path.relative_to(folder).parts[:-1])
        other = numbered.setdefault(split, {}).setdefault(number, path)
        if other != path:
            problems.append(
                f"{path}: {other} has the same frame number {number}; give each image of a folder its "
                "own number, or each camera a folder"
            )
    _check_shared(folder, numbered, problems, told.warnings)
    for split, paths in numbered.items():
        splits[split] = [
            Frame(
                image_id=paths[number].relative_to(folder).as_posix(),
                position=(float(number), 0.0),
                timestamp=number,
                source=paths[number],
            )
            for number in sorted(paths)
        ]
    return done(folder, splits, problems)


def _check_shared(folder: pathlib.Path, numbered, problems: list[str], warnings: list[str]) -> None:
    """Adds a problem where the numbers are times, else a warning where a split shares none of its own."""
    largest = max((number for paths in numbered.values() for number in paths), default=0)
    if FARTHEST < largest < TIMES:
        problems.append(
            f"{folder}: the numbers in the names, up to {largest}, look like times, which no two drives "
            "share; number the images of one place alike in all folders, or write a places.csv"
        )
        numbered.clear()
    for split, paths in numbered.items():
        others = [other for name, other in numbered.items() if name != split]
        if others and not any(paths.keys() & other.keys() for other in others):
            warnings.append(
                f"{split} shares no frame number with another folder, so no image of it shows the same "
                "place as another folder's; number the images of one place alike"
            )


def frame_numbers(paths: list[pathlib.Path], warnings: list[str]) -> dict[pathlib.Path, int]:
    """The frame number of each image; all have a digit in their names.

    Names that differ in their digits alone, in whatever folder, hold the frame number in the same place.
    """
    alike: dict[str, dict[pathlib.Path, list[int]]] = {}
    holders: dict[int, set[pathlib.Path]] = collections.defaultdict(set)
    for path in paths:
        values = [int(digits) for digits in re.findall(r"\d+", path.stem)]
        alike.setdefault(re.sub(r"\d+", "#", path.stem), {})[path] = values
        for value in values:
            holders[value].add(path.parent)
    numbers = {}
    for names in alike.values():
        place = running(names, holders)
        numbers |= {path: values[place] for path, values in names.items()}
        example, values = next(iter(names.items()))
        if place != len(values) - 1:
            which = ORDINALS[place] if place < len(ORDINALS) else f"{place + 1}th"
            warnings.append(
                f"the frame number of {len(names)} images is the {which} number in their names, "
                f"{values[place]} in {example.name}"
            )
    return {path: numbers[path] for path in paths}


def running(names: dict[pathlib.Path, list[int]], holders: dict[int, set[pathlib.Path]]) -> int:
    """The place, among the numbers of names alike, of the one that runs.

    It tells most images of one folder apart, and where two do, most other folders hold it too. The last
    one wins a tie. `holders` are the folders that hold a number anywhere in their names.
    """
    places = range(len(next(iter(names.values()))))

    def rank(place: int) -> tuple[int, int, int, int]:
        own = {(path.parent, values[place]) for path, values in names.items()}
        varies = len({value for _, value in own}) > 1
        shared = sum(len(holders[value]) > 1 for _, value in own)
        return len(own), varies, shared, place

    return max(places, key=rank)


LAYOUT = Layout(
    title="folders of frames where the same number is the same place",
    read=read_aligned,
    position_unit="frames",
    pose_source="frame numbers in the file names",
)
