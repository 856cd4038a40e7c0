"""Keeps the record of measured results and makes every results table in Markdown from it.

    python experiments/records.py
    python experiments/records.py --add runs/grid/nordland --add runs/train_step.json

`experiments/records/` holds `runs.csv` (one row per FCM), `configs.jsonl` (one line per config),
`speed.csv` (one row per case of a benchmark) and `baselines.csv` (one per baseline and query split).
`--add` takes a grid's folder or a file of `benchmark.py --json=FILE`. A grid's rows replace those of the
same set (the folder's name), cell or baseline, and seed.

The command then gives all configs today's key names and digests. It fills the block between
`<!-- results: NAME -->` and `<!-- end -->` in the project's Markdown files with the table NAME.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator

from analysis import baselines, fill, rows, speed
from analysis.record_tables import Records

from vprjax.errors import DataError, VprjaxError
from vprjax.storage.atomic import write_atomically

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "experiments/records"


def added(records: Records, path: pathlib.Path) -> Records:
    """The records with the rows of a grid's folder or a benchmark's file.

    Raises:
      DataError: it holds neither.
    """
    if path.is_dir():
        field = baselines.read(path)
        runs = rows.read(path) if (path / rows.RUNS).exists() or not field else None
        return dataclasses.replace(
            records,
            runs=rows.replaced(records.runs, runs) if runs else records.runs,
            baselines=baselines.replaced(records.baselines, field),
        )
    try:
        found = speed.of_benchmark(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no benchmark's record ({type(error).__name__}: {error})"
        ) from error
    return dataclasses.replace(records, speed=speed.replaced(records.speed, found))


def texts(root: pathlib.Path, records: Records) -> dict[pathlib.Path, str]:
    """The content of every file that the records decide, by path; raises DataError."""
    runs = rows.renewed(records.runs)
    records = dataclasses.replace(records, runs=runs)
    folder = root / FOLDER.relative_to(ROOT)
    out = {folder / name: text for name, text in rows.texts(runs).items()}
    out[folder / speed.FILE] = speed.text(records.speed)
    if records.baselines:
        out[folder / baselines.FILE] = baselines.text(records.baselines)
    for path in fill.documents(root):
        try:
            out[path] = fill.filled(path.read_text(encoding="utf-8"), records)
        except DataError as error:
            raise DataError(f"{path.relative_to(root)}: {error}") from error
    return out


def regenerate(records: Records) -> Iterator[pathlib.Path]:
    """Writes every file that the records change and yields its path from the project's folder."""
    for path, text in texts(ROOT, records).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
            yield path.relative_to(ROOT)


def main() -> int:
    """Adds, regenerates and prints which files have changed; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--add", type=pathlib.Path, action="append", default=[], help="a grid's folder, or a file"
    )
    args = parser.parse_args()
    try:
        records = fill.read(FOLDER)
        for path in args.add:
            records = added(records, path)
        for path in regenerate(records):
            print(path)
        return 0
    except (VprjaxError, OSError) as error:
        print(f"records: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
