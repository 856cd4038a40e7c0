"""Uses a trained model: maps of places, queries, calibration, loop closures.

python -m vprjax.localize {map,query,calibrate,loops,serve} ...
"""

import argparse
import logging
import os
import sys
import warnings

from vprjax.errors import VprjaxError
from vprjax.localize.commands import COMMANDS


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m vprjax.localize", description=__doc__.splitlines()[0]
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar="{" + ",".join(COMMANDS) + "}"
    )
    for name, command in COMMANDS.items():
        example = f"example:\n  {command.example}"
        sub = commands.add_parser(
            name,
            help=command.text,
            description=command.text,
            epilog=example,
            formatter_class=plain,
        )
        command.arguments(sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs a sub-command.

    Returns:
      0; 2 for a mistake that the user can mend; 1 for a failing disk; 130 after Ctrl-C.
    """
    args = parser().parse_args(argv)
    try:
        COMMANDS[args.command].run(args)
        return 0
    except VprjaxError as error:
        print(f"vprjax: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a lost mount
        print(f"vprjax: error: {error}; run the same command again to go on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    logging.getLogger("absl").setLevel(logging.ERROR)  # hides the libraries' own lines
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")  # its error says more
    sys.exit(main())
