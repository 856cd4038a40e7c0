"""Writes an exported file: the program under a temporary name, its check, then the file's own name."""

import importlib
import pathlib
from collections.abc import Iterator

from vprjax.errors import ConfigError, ExportError, VprjaxError
from vprjax.export import FORMATS, check
from vprjax.export.check import Difference
from vprjax.localize.exported import LEAST
from vprjax.localize.load import load
from vprjax.localize.model import Model
from vprjax.localize.network import Network


def write(path: str, name: str, out: pathlib.Path, size, free: bool) -> str:
    """Exports the model at `path` to the file `out`; returns sentences on it.

    Args:
      path: what `vprjax.load` takes, but an exported file.
      name: a key of `FORMATS`.
      out: the file; an older one of the name stays until the new one is checked.
      size: height and width in place of the model's own, or None.
      free: whether the file takes any height and width.

    Raises:
      VprjaxError: the model cannot be loaded or exported, or the file's descriptors differ.
    """
    model = load(path, size)
    if not isinstance(model.engine, Network):
        raise ConfigError(
            f"--model={path} is an exported file already: name the run that it is from"
        )
    if model.engine.config.compute_dtype != "float32":
        raise ConfigError(
            f"--model={path} computes in {model.engine.config.compute_dtype}, which no two platforms round "
            "alike: an exported file needs model.compute_dtype=float32"
        )
    return write_model(model, name, out, free)


def write_model(model: Model, name: str, out: pathlib.Path, free: bool) -> str:
    """Exports a model in memory, as `write` does.

    Raises:
      ExportError: the format cannot hold it, or the file's descriptors differ from the model's.
    """
    partial = out.with_name(f".{out.stem}.partial{out.suffix}")
    module = importlib.import_module(FORMATS[name])
    try:
        _write(module, model, None if free else model.size, partial)
        differences = [*_differences(model, load(partial), free)]
        if bad := [d for d in differences if not d.exported <= d.limit]:  # NaN neither
            raise ExportError(
                f"--format={name}: descriptors of the exported file differ from the model's by "
                f"{bad[0].exported:.1e} (relative), more than {bad[0].limit:.1e}; nothing is written: use "
                "another --format or --size"
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return _sentence(out, model, free, differences)


def _sentence(out: pathlib.Path, model: Model, free: bool, differences: list[Difference]) -> str:
    shown = "any size" if free else "{}x{}".format(*model.size)
    return (
        f"{out}: {model.title}, {shown} -> {model.dimension} dimensions, id {model.id[:12]}\n"
        f"largest relative difference from the model {max(d.exported for d in differences):.1e}, on "
        f"{len(differences) * check.IMAGES} pictures; the model differs from itself by "
        f"{max(d.own for d in differences):.1e} where other sums round otherwise"
    )


def _write(module, model: Model, size, partial: pathlib.Path) -> None:
    try:
        module.write(model, size, partial)
    except (VprjaxError, OSError, MemoryError):
        raise
    except Exception as error:  # a converter raises anything
        if size is None:
            raise ExportError(
                f"{model.title} cannot be exported for any size: name one, such as --size=224x224"
            ) from error
        words = next(iter(str(error).splitlines()), "")
        raise ExportError(
            f"{model.title} cannot be exported for {size[0]}x{size[1]} ({type(error).__name__}: {words}): "
            "use another --format"
        ) from error


def _differences(model: Model, exported: Model, free: bool) -> Iterator[Difference]:
    """The difference at each size that is looked at."""
    for more in check.FREE if free else check.FREE[:1]:
        height, width = (
            max(LEAST, side + by) if free else side
            for side, by in zip(model.size, more, strict=True)
        )
        yield check.compare(model, exported, check.pictures(height, width))
