"""Folders of frames where the same number is the same place (Nordland, Gardens Point)."""

import pathlib
import re

from tfds_builders.places_csv.layouts.folders import check_apart, done, image_files, split_name
from tfds_builders.places_csv.layouts.variant import Layout
from tfds_builders.schema import Frame


def read_aligned(folder: pathlib.Path) -> dict[str, list[Frame]]:
    """Reads folders of frames where the same number is the same place (Nordland, Gardens Point).

    One folder is one split. The last number in a file's name gives its order and position `(number, 0)`.

    Raises:
      RawDataError: names every image without a number or with another one's number.
    """
    splits: dict[str, list[Frame]] = {}
    problems = []
    numbered: dict[str, dict[int, pathlib.Path]] = {}
    every = image_files(folder)
    check_apart(path.relative_to(folder).parts[:-1] for path in every)
    for path in every:
        split = split_name(path.relative_to(folder).parts[:-1])
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            problems.append(f"{path}: the name holds no frame number; rename or remove it")
            continue
        other = numbered.setdefault(split, {}).setdefault(int(digits[-1]), path)
        if other != path:
            problems.append(f"{path}: {other} has the same frame number; remove one")
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


LAYOUT = Layout(
    title="folders of frames where the same number is the same place",
    read=read_aligned,
    position_unit="frames",
    pose_source="frame numbers in the file names",
)
