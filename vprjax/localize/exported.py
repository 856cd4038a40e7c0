"""Models in files of `vprjax.export`: the readers, and the engine that runs their programs.

StableHLO   a zip archive: `model.stablehlo` (jax.export) and `model.json` (the facts)
ONNX        the facts are its metadata_props, each value as JSON
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterator

import jax
import numpy as np

from vprjax.console import progress
from vprjax.data.pictures import Form
from vprjax.errors import ConfigError, WeightsError
from vprjax.localize.model import Model
from vprjax.runtime.prefetch import prefetch

PROGRAM, FACTS = "model.stablehlo", "model.json"  # members of the archive
ONNX_SUFFIX = ".onnx"
INPUT, OUTPUT = "images", "descriptors"  # names in the ONNX graph
# What a file says of itself; `size` is [height, width], or None where it is free.
KEYS = ("title", "digest", "form", "size", "dimension", "batch", "dataset", "calibration")
LEAST = 32  # height and width at least, where they are free

Program = Callable[[np.ndarray], np.ndarray]


class Exported:
    """Runs an exported program, `(b, h, w, 3)` uint8 -> `(b, d)` float32."""

    def __init__(self, program: Program, pads: bool):
        """`pads` fills the last batch, for a program that compiles anew for each size of a batch."""
        self._program, self._pads = program, pads

    def stream(self, pictures, batch: int, first: int) -> Iterator[np.ndarray]:
        """Yields descriptors, as `model.Engine` does."""
        starts = range(first, len(pictures), batch)

        def images(number: int) -> np.ndarray:
            rows = np.arange(starts[number], min(starts[number] + batch, len(pictures)))
            return pictures.images(np.resize(rows, batch) if self._pads else rows)

        with progress("describe", len(pictures), "images", first) as bar:
            for number, block in prefetch(images, 0, len(starts)):
                count = min(batch, len(pictures) - starts[number])
                yield np.asarray(self._program(block), np.float32)[:count]
                bar.advance(count)


def is_exported(path: pathlib.Path) -> bool:
    """Whether a file is an exported program; other archives hold weights."""
    if path.suffix.lower() == ONNX_SUFFIX:
        return True
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:  # an export that was cut short still begins with its facts
            return file.read(30 + len(FACTS))[30:] == FACTS.encode()
    try:
        with zipfile.ZipFile(path) as archive:
            return PROGRAM in archive.namelist()
    except zipfile.BadZipFile:
        return False


def open_model(path: pathlib.Path, size: tuple[int, int] | None) -> Model:
    """The model of an exported file.

    Raises:
      ConfigError: what reads it is not installed, or it has another size.
      WeightsError: the file is damaged or no export.
    """
    onnx = path.suffix.lower() == ONNX_SUFFIX
    program, facts = _read_onnx(path) if onnx else _read_stablehlo(path)
    missing = [key for key in KEYS if key not in facts]
    if missing:
        raise WeightsError(
            f"{path} does not say its {', '.join(missing)}: export it with python -m vprjax.export"
        )
    form = Form.from_json(facts["form"])
    if size and facts["size"] and [*size] != facts["size"]:
        h, w = facts["size"]
        raise ConfigError(
            f"{path} describes images of {h}x{w} (height x width) alone, not {size[0]}x{size[1]}: export "
            f"it again with --size={size[0]}x{size[1]}, or --size=free"
        )
    if size and min(size) < LEAST:
        raise ConfigError(f"{path} takes images of {LEAST} pixels or more on each side, not {size}")
    return Model(
        Exported(program, pads=not onnx),
        None,
        dataclasses.replace(form, height=size[0], width=size[1]) if size else form,
        title=facts["title"],
        dimension=facts["dimension"],
        digest=facts["digest"],
        batch=facts["batch"],
        facts=facts,
    )


def _read_stablehlo(path: pathlib.Path) -> tuple[Program, dict]:
    try:
        import flatbuffers  # noqa: F401 (jax.export needs it and does not install it)
        from jax import export
    except ImportError as error:
        raise ConfigError(
            f"{path} needs flatbuffers to be read: pip install flatbuffers"
        ) from error
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(archive.read(FACTS))
            program = export.deserialize(bytearray(archive.read(PROGRAM)))
    except Exception as error:  # a damaged file makes zipfile and jax raise anything
        raise WeightsError(f"{path} cannot be read ({_first(error)}); export it again") from error
    if jax.default_backend() not in (platform := [_backend(p) for p in program.platforms]):
        raise ConfigError(f"{path} runs on {', '.join(platform)}, not on {jax.default_backend()}")
    return jax.jit(program.call), facts


def _backend(platform: str) -> str:
    return "gpu" if platform in ("cuda", "rocm") else platform


def _read_onnx(path: pathlib.Path) -> tuple[Program, dict]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"{path} needs onnxruntime to be read: pip install 'vprjax[onnx]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(
            str(path), providers=onnxruntime.get_available_providers()
        )
        values = session.get_modelmeta().custom_metadata_map
        facts = {key: json.loads(values[key]) for key in KEYS if key in values}
    except Exception as error:  # a damaged file makes it raise anything
        raise WeightsError(f"{path} cannot be read ({_first(error)}); export it again") from error
    return lambda images: session.run([OUTPUT], {INPUT: images})[0], facts


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
