"""Writes a trained model to one file that computes descriptors without vprjax."""

import argparse
import importlib
import logging
import os
import pathlib
import re
import sys

from vprjax.errors import ConfigError, VprjaxError
from vprjax.export import FORMATS

EXAMPLE = """example:
  python -m vprjax.export --model=runs/mine --format=onnx --out=mine.onnx

  vprjax.load("mine.onnx").describe(["a.jpg"]) then gives the descriptors that runs/mine gives.
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    out = argparse.ArgumentParser(
        prog="python -m vprjax.export",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    out.add_argument(
        "--model",
        required=True,
        help="a run's workdir, or a file of a released model or a backbone",
    )
    out.add_argument("--format", required=True, choices=[*FORMATS])
    out.add_argument("--out", required=True, help="the file to write, e.g. mine.onnx")
    out.add_argument(
        "--size",
        default="",
        help="height and width of the images, as in 224x224, or free for any; the model's own by default",
    )
    return out


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, 2 for a mistake that the user can mend, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    try:
        size, free = parse_size(args.size)
        out = pathlib.Path(args.out).expanduser()
        _check_out(out, args.format)
        importlib.import_module(FORMATS[args.format]).check_installed()
        from vprjax.export.write import write  # here, because it costs seconds

        print(write(args.model, args.format, out, size, free))
    except (VprjaxError, OSError) as error:  # an OSError comes from a full or unwritable disk
        print(f"vprjax: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def parse_size(text: str) -> tuple[tuple[int, int] | None, bool]:
    """Height and width in `--size`, None for the model's own, and whether both are free.

    Raises:
      ConfigError: the text is neither.
    """
    if text in ("", "free"):
        return None, text == "free"
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text, re.ASCII)
    if not found:
        raise ConfigError(f"--size={text} is neither HEIGHTxWIDTH, such as 224x224, nor free")
    return (int(found[1]), int(found[2])), False


def _check_out(out: pathlib.Path, name: str) -> None:
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK) or out.is_dir():
        raise ConfigError(f"--out={out} cannot be written: name a file in a folder that is there")
    if (out.suffix.lower() == ".onnx") != (name == "onnx"):
        raise ConfigError(f"--out={out}: a file of ONNX ends in .onnx, and no other does")
    if out.exists() and not _is_own(out):
        raise ConfigError(f"--out={out} is a file that this command did not write; name another")


def _is_own(out: pathlib.Path) -> bool:
    """Whether a file is empty or an export, which a newer one may replace."""
    from vprjax.localize import exported  # here, because it costs seconds

    if out.suffix.lower() == exported.ONNX_SUFFIX:
        return b"vprjax" in out.read_bytes()  # its fact `made_by`
    return not out.stat().st_size or exported.is_exported(out)


if __name__ == "__main__":
    for library in ("absl", "onnx_ir"):  # hides their own lines
        logging.getLogger(library).setLevel(logging.ERROR)
    sys.exit(main())
