"""Released models: which are known, and what a file holds.

python -m vprjax.weights {list,describe} ...
"""

import argparse
import json
import os
import sys

from vprjax.errors import VprjaxError
from vprjax.weights import catalogue

LIST = "lists the released models that load as they are"
DESCRIBE = "says what a released model's file holds"


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m vprjax.weights", description=__doc__.splitlines()[0]
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="{list,describe}")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")
    commands.add_parser("list", help=LIST, description=LIST, parents=[as_json])
    one = commands.add_parser("describe", help=DESCRIBE, description=DESCRIBE, parents=[as_json])
    one.add_argument("file", help="a released model's file, such as ResNet50_2048_cosplace.pth")
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs a sub-command; returns 0, or 2 for a mistake that the user can mend."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            found, text = catalogue.rows(), catalogue.table
        else:
            found, text = catalogue.describe(args.file), catalogue.text
        print(json.dumps(found, indent=1) if args.json else text(found), flush=True)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (VprjaxError, OSError) as error:
        print(f"vprjax: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
