"""Measures what a trained model is used for, and keeps the record `experiments/records/localize.md`.

    python experiments/localize.py map --images=100000 --dimension=2048
    python experiments/localize.py serve --model=WEIGHTS --images=FOLDER
    python experiments/localize.py neighbours --run=RUN --reference=synthetic/default:reference
    python experiments/localize.py confidence --run=RUN --reference=synthetic/default:reference \
        --queries=synthetic/default:test01 --test=synthetic/default:test02 --elsewhere=FOLDER
    python experiments/localize.py thresholds --run=RUN --known=synthetic/default:reference \
        --queries=synthetic/default:test01 --test=synthetic/default:test02 --elsewhere=FOLDER

A command replaces its own rows of `localize.jsonl`, from which all tables of `localize.md` are made.
"""

import argparse
import json
import pathlib
import re
import shlex
import sys

from analysis import localize_record
from benchmarks import confidence, map_scale, neighbours, serve_load, thresholds

from vprjax.errors import VprjaxError
from vprjax.report.provenance import code_version
from vprjax.runtime.machine import cpu

RECORDS = pathlib.Path(__file__).resolve().parent / "records"
COMMANDS = {
    "map": map_scale,
    "serve": serve_load,
    "neighbours": neighbours,
    "confidence": confidence,
    "thresholds": thresholds,
}


def command_line() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        sub.add_argument(
            "--records", type=pathlib.Path, default=RECORDS, help="folder of the record"
        )
        module.add_arguments(sub)
    return parser


def shown(words: list[str]) -> str:
    """The command for the record: of each folder or file on this machine only the name."""
    kept = [word for word in words if not word.startswith("--records=")]
    return shlex.join(["python", *(re.sub(r"(?<==)/.*/(?=[^/]+)", "", word) for word in kept)])


def main() -> int:
    """Measures, records and prints; returns the exit status."""
    args = command_line().parse_args()
    code = code_version()
    try:
        found = COMMANDS[args.command].measure(args)
        made = {"machine": cpu(), "code": code, "command": shown(sys.argv)}
        rows = {
            name: facts | made for name, facts in (found if isinstance(found, list) else [found])
        }
        print(json.dumps(rows, indent=1))
        tables = {key: (module.TITLE, module.COLUMNS) for key, module in COMMANDS.items()}
        localize_record.keep(args.records, tables, args.command, rows)
        return 0
    except (VprjaxError, OSError) as error:
        print(f"localize: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
