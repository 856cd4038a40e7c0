"""VPR-Bench's folders: `query/`, `ref/` and a table that lists the right answers of each query."""

import math
import pathlib

from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame
from tfds_builders.places_csv import npy_lists
from tfds_builders.places_csv.layouts.csv_rows import some
from tfds_builders.places_csv.layouts.folders import image_files, remedy
from tfds_builders.places_csv.layouts.variant import Layout, Protocol, Told

TABLES = ("ground_truth_new.npy", "ground_truth.npy")
NONE = [-1]  # of a query without a right answer


def read_vpr_bench(folder: pathlib.Path, told: Told) -> dict[str, list[Frame]]:
    """Reads both folders in the order of their numbers as the splits `ref` and `query`.

    A reference's position is `(its number in that order, 0)`; queries have none. The lists go to the
    metadata: `positives.query.lists` holds the numbers of the references that are right.

    Raises:
      RawDataError: a folder or table is missing, or the table is of other images.
    """
    splits = {name: _frames(folder, name, told) for name in ("ref", "query")}
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        raise RawDataError(f"{folder} holds no {' or '.join(TABLES)}; put the dataset's there")
    lists = _lists(table, len(splits["query"]), len(splits["ref"]))
    told.notes["positives"] = {"query": {"reference": "ref", "lists": lists}}
    without = sum(not right for right in lists)
    if without:
        told.warnings.append(
            f"{without:,} of {len(lists):,} queries have no right answer; they count, so that no figure "
            f"goes over {100 * (1 - without / len(lists)):.1f} %"
        )
    return splits


def _frames(folder: pathlib.Path, name: str, told: Told) -> list[Frame]:
    """The images of `query` or `ref`, sorted by the whole number that is their name."""
    if not (folder / name).is_dir():
        do = remedy(folder, ["ref"], "give a dataset's folder of VPR-Bench")
        raise RawDataError(f"{folder} holds no folder {name}; {do}")
    paths = image_files(folder / name, told.warnings)
    wrong = [path.name for path in paths if not (path.stem.isascii() and path.stem.isdecimal())]
    if wrong or not paths:
        raise RawDataError(
            f"{folder / name}: {len(wrong) or 'no'} images have names that are no numbers: {some(wrong)}; "
            "the table means them by their order, so name them 0000000.jpg and so on"
        )
    paths.sort(key=lambda path: int(path.stem))
    return [
        Frame(
            image_id=path.relative_to(folder).as_posix(),
            position=(float(number), 0.0) if name == "ref" else (math.nan, math.nan),
            timestamp=number,
            source=path,
        )
        for number, path in enumerate(paths)
    ]


def _lists(table: pathlib.Path, queries: int, references: int) -> list[list[int]]:
    """The right references of each query, ascending; empty where it has none.

    Rows are `[query, list]`, in the older table `[query, first, last]`, in others a list alone.
    """
    rows = npy_lists.read(table)
    if len(rows) != queries:
        raise RawDataError(
            f"{table} has {len(rows):,} rows for {queries:,} images in query/; unpack all queries, or use "
            "the table of these"
        )
    lists: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        if len(row) == 1:
            query, right = number, row[0]
        elif len(row) == 2 and len(row[0]) == 1:
            query, right = row[0][0], row[1]
        elif len(row) == 3 and all(len(cell) == 1 for cell in row):
            query, right = row[0][0], [*range(row[1][0], row[2][0] + 1)][: references + 1]
        else:
            raise RawDataError(f"{table}, row {number}: it is no query with a list of references")
        right = [] if right == NONE else sorted(set(right))
        if query in lists or not 0 <= query < queries:
            raise RawDataError(
                f"{table}, row {number}: it is of query {query}, which is twice in the table or no image"
            )
        if right and not (right[0] >= 0 and right[-1] < references):
            raise RawDataError(
                f"{table}, row {number}: it names references {right[0]} to {right[-1]} of {references:,} "
                "images in ref/; the table is of other images"
            )
        lists[query] = right
    return [lists[query] for query in range(queries)]


LAYOUT = Layout(
    title="VPR-Bench's folders",
    read=read_vpr_bench,
    position_unit="frames",
    pose_source="the order of the images; right answers are listed",
    unlocated=True,
    protocols={
        "vpr_bench": Protocol(
            positives="a reference that the dataset's table lists for the query",
            queries="all queries, those without a right answer too",
            source="VPR-Bench, ground_truth_new.npy",
            radius=None,
        )
    },
)
