"""Exports every backbone with every head in each format, and compares the files with their models.

    python experiments/exports.py --images=FOLDER
    python experiments/exports.py --images=FOLDER --only='resnet50-*' --again

16 pictures below `FOLDER`, evenly spread, are described by each file in a process without vprjax, at three
sizes where height and width are free. Every backbone has a process of its own, which bounds the memory.
`experiments/records/exports.csv` keeps a row per file and `export.md` shows them; the same command goes on
where it stopped. Rows in `--work` that are older than the record fill its gaps alone. `--parts` fills the
cells that are missing with one file of a backbone for all heads, and one of each head. It needs the extra
`onnx`. The exit status is 1 where a file differs from its model.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import subprocess
import sys

from analysis import export_table
from analysis.export_table import JOB, ROWS, Row

from vprjax.console import log
from vprjax.errors import ConfigError, VprjaxError
from vprjax.export import FORMATS
from vprjax.models.backbones import BACKBONES
from vprjax.storage.atomic import write_atomically

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORDS = ROOT / "experiments/records"
CHILD = ROOT / "experiments/grid/one_export.py"
PARTS = CHILD.with_name("parts_export.py")
ENDINGS = {".jpg", ".jpeg", ".png"}
PICTURES = 16
SIZE, PATCHED = (160, 160), (154, 154)  # of a transformer: a multiple of its patches of 14
LARGE = (288, 288)  # of backbones that need 231 pixels, at every size beside it too
LARGER = {"hybridnet", "overfeat_fast", "overfeat_accurate"}
# Where the whole network's file and its program's constants take more than 3 GiB of memory.
CUT = {name: "block1" for name in BACKBONES if name.startswith(("dinov2_vitl", "dinov2_vitg"))}


def parse() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=pathlib.Path, required=True, help="a folder with pictures, at any depth")
    add("--only", default="*", help="cells BACKBONE-HEAD that match this pattern")
    add("--parts", action="store_true", help="a file per backbone and one per head of its maps")
    add("--again", action="store_true", help="also cells that the record has")
    add(
        "--work",
        type=pathlib.Path,
        default=pathlib.Path("runs/exports"),
        help="for files in between",
    )
    add("--records", type=pathlib.Path, default=RECORDS, help="folder of the record")
    return parser.parse_args()


def pictures(folder: pathlib.Path) -> list[str]:
    """16 pictures below the folder, evenly spread over all.

    Raises:
      ConfigError: there are fewer.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if len(found) < PICTURES:
        raise ConfigError(f"--images={folder} holds {len(found)} pictures; {PICTURES} are needed")
    step = (len(found) - 1) / (PICTURES - 1)
    return [str(found[round(number * step)].absolute()) for number in range(PICTURES)]


def jobs(chosen: list[tuple[str, str]], shown: list[str]) -> dict[str, dict]:
    """What each backbone's process is told."""
    out = {}
    for backbone in dict.fromkeys(backbone for backbone, _ in chosen):
        size = LARGE if backbone in LARGER else SIZE
        size = PATCHED if BACKBONES[backbone].class_token else size
        out[backbone] = {
            "backbone": backbone,
            "heads": [head for own, head in chosen if own == backbone],
            "stage": CUT.get(backbone, ""),
            "pictures": shown,
            "size": size,
        }
    return out


def collect(work: pathlib.Path, since: float = 0.0) -> tuple[list[Row], list[Row]]:
    """The rows that the processes have left: those of files changed before `since`, and the others.

    `since` is in seconds of the file system's time.
    """
    earlier, later = [], []
    for file in sorted(work.glob(f"*/{ROWS}")):
        found = later if file.stat().st_mtime > since else earlier
        found += [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return earlier, later


def record(args: argparse.Namespace) -> list[Row]:
    """Brings the record up to date; returns its rows.

    Rows that processes left before the record was written fill its gaps alone.
    """
    table = args.records / export_table.FILE
    earlier, later = collect(args.work, table.stat().st_mtime if table.exists() else 0.0)
    known = export_table.merged(earlier, export_table.read(table))
    rows = export_table.merged(known, later)
    command = "python experiments/exports.py --images=FOLDER"
    args.records.mkdir(parents=True, exist_ok=True)
    write_atomically(table, export_table.text(rows))
    write_atomically(args.records / export_table.PAGE, export_table.page(rows, command))
    return rows


def _found() -> dict[str, str]:
    """The environment in which a process finds `analysis`."""
    known = os.environ.get("PYTHONPATH")
    here = str(CHILD.parents[1])
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{known}" if known else here}


def export(args: argparse.Namespace) -> list[str]:
    """Runs the cells that are missing; returns the chosen ones that are not sound.

    Raises:
      ConfigError: no cell matches, or there are too few pictures.
    """
    chosen = [cell for cell in export_table.cells() if fnmatch.fnmatch("-".join(cell), args.only)]
    if not chosen:
        raise ConfigError(f"--only={args.only} matches no cell BACKBONE-HEAD")
    shown, rows = pictures(args.images), record(args)
    done = {row.key for row in rows if row.sound and not args.again}
    missing = [cell for cell in chosen if any((*cell, name) not in done for name in FORMATS)]
    for backbone, job in jobs(missing, shown).items():
        folder = args.work / (f"{backbone}-parts" if args.parts else backbone)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JOB).write_text(json.dumps(job))
        (folder / ROWS).unlink(missing_ok=True)  # the record has these rows, or newer ones
        log(f"{backbone}: {', '.join(job['heads'])}")
        status = subprocess.run(
            [sys.executable, PARTS if args.parts else CHILD, folder], env=_found(), check=False
        ).returncode
        if status:
            log(f"{backbone} ended with status {status}; the same command goes on")
        rows = record(args)
    sound = {row.key for row in rows if row.sound}
    every = [(*cell, name) for cell in chosen for name in FORMATS]
    return [" ".join(key) for key in every if key not in sound]


def main() -> int:
    """Returns 0; 1 where a file differs or is missing; 2 for a mistake that the user can mend."""
    args = parse()
    try:
        bad = export(args)
    except (VprjaxError, OSError) as error:
        print(f"exports: error: {error}", file=sys.stderr)
        return 2
    for name in bad:
        log(f"{name}: no file that gives its model's descriptors")
    log(f"{args.records / export_table.PAGE}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
