"""Loads a model of any kind: a run's workdir, an exported file, or a file of released or other weights.

A kind is one function `(path, size) -> Model`; `load` looks at the path and calls it.
"""

import dataclasses
import hashlib
import os
import pathlib
import types
from collections.abc import Sequence

import ml_collections
import numpy as np

from vprjax import models
from vprjax.config import changes
from vprjax.data import decoding, source
from vprjax.data.pictures import Form, form_of
from vprjax.descriptors import store, whitening
from vprjax.errors import DataError, WeightsError
from vprjax.evaluation import blend
from vprjax.evaluation.evaluate import pca_file
from vprjax.localize import calibration, exported
from vprjax.localize.model import Model
from vprjax.localize.network import Network
from vprjax.storage import checksum
from vprjax.storage.checkpoint import open_for_reading
from vprjax.weights import files, off_the_shelf
from vprjax.weights.hub import resolve
from vprjax.weights.released import FAMILIES
from vprjax.weights.released import load as released

ENGINES = ("jax", "onnxruntime")
Size = tuple[int, int] | None
WEIGHTS_FORM = Form(224, 224)  # of weights alone: the size that they classified ImageNet at


def load(path: str | os.PathLike, size: Size = None, engine: str | None = None) -> Model:
    """Loads a model that describes pictures.

    Args:
      path: the workdir of a run, whose parameters it takes as the run's evaluation does (best checkpoint,
        running mean, blend), with its PCA where the run has one; a file of `python -m vprjax.export`; or a
        released model's file; or a file or hub id of a backbone's weights, which GeM pools (224x224 pixels
        by default).
      size: height and width that pictures are brought to, in place of those that the model was trained at.
      engine: "jax" or "onnxruntime" refuses a path that the other one computes.

    Raises:
      VprjaxError: the path is none of these, or damaged; the sentence says what to do.
    """
    if size is not None and not _is_size(size):
        raise DataError(f"size is {size!r}; give (height, width) in pixels, such as (224, 224)")
    if not str(path):  # a shell's unset variable; a path would mean the folder at hand
        raise WeightsError("no model is named: give a run's workdir or a file")
    size = size and (int(size[0]), int(size[1]))
    if size and size[0] * size[1] > decoding.MOST_PIXELS:
        raise DataError(f"size is {size}; give {decoding.MOST_PIXELS:,} pixels at most")
    path = pathlib.Path(path).expanduser()
    if engine is not None:
        _check_engine(path, engine)
    model = _load(path, size)
    model.source = str(path.absolute() if path.exists() else path)
    return model


def _check_engine(path: pathlib.Path, engine: str) -> None:
    if engine not in ENGINES:
        raise DataError(
            f"engine is {engine!r}; give one of {', '.join(map(repr, ENGINES))}, or None"
        )
    onnx = path.suffix.lower() == exported.ONNX_SUFFIX
    if engine != ENGINES[onnx]:
        remedy = f"python -m vprjax.export --model={path} --format=onnx --out=FILE.onnx writes one"
        raise DataError(
            f"{path} is computed by {ENGINES[onnx]}, not by {engine}, which "
            + ("knows no ONNX" if onnx else f"computes ONNX alone: {remedy}")
        )


def _load(path: pathlib.Path, size: Size) -> Model:
    if path.is_dir():
        return _load_run(path, size)
    if path.is_file() and exported.is_exported(path):
        return exported.open_model(path, size)
    if path.is_file() or "@" in path.name:  # a hub id names a commit
        return _load_weights(path, size)
    raise WeightsError(
        f"{path} is not there: give a run's workdir, an exported file, or a file of a released model or a "
        "backbone"
    )


def _is_size(size) -> bool:
    return (
        isinstance(size, Sequence)
        and len(size) == 2
        and all(isinstance(n, int | np.integer) and n is not True and n > 0 for n in size)
    )


def _sized(form: Form, size: Size) -> Form:
    return dataclasses.replace(form, height=size[0], width=size[1]) if size else form


def _load_run(workdir: pathlib.Path, size: Size) -> Model:
    """The model that the run's evaluation takes, with the projection that it fits."""
    checkpoints = open_for_reading(workdir)
    workdir = checkpoints.folder.parent
    step = checkpoints.chosen()
    saved = checkpoints.config(step)
    config = ml_collections.ConfigDict(changes.completed(saved["config"]))
    blended = blend.read(workdir, config) if step else blend.Blend()
    variables = blend.taken(checkpoints, blended)
    checkpoints.close()
    network = Network(*models.merged(config.model, variables))
    dataset = saved["provenance"].get("trained_on", "") if step else ""
    facts = {"dataset": dataset, "calibration": _calibration(workdir)}
    title = f"{network.title}, {config.loss.name}" if step else network.title
    title += "" if blended.whole else f", blended at {blended.share:g}"
    projection = None
    if config.eval.pca:
        file = pca_file(workdir, "fine_tuned" if step else "off_the_shelf")
        projection = whitening.read(file, store.fingerprint(config.model, variables))
        title += f", PCA {config.eval.pca}"
    form = _form_of_run(workdir, config, saved["provenance"], size)
    return of_network(network, projection, form, title, config.eval.batch, facts)


def _form_of_run(workdir: pathlib.Path, config, provenance: dict, size: Size) -> Form:
    """The form of the images that a run trained on; an earlier version left it to the dataset."""
    if "image_form" in provenance:
        return _sized(Form.from_json(provenance["image_form"]), size)
    try:
        dataset = source.open_dataset(types.SimpleNamespace(dataset=config.dataset))
        images = dataset.places((config.dataset.reference_split,)).images([0])
        return _sized(form_of(dataset.metadata, images.shape[1:3]), size)
    except DataError as error:
        if size:
            return Form(*size)
        raise DataError(
            f"{workdir} does not say the size of its images, as an earlier version trained it, and its "
            f"dataset cannot be opened ({error}): pass size=(height, width)"
        ) from error


def _calibration(workdir: pathlib.Path) -> dict | None:
    file = workdir / calibration.FILE
    try:
        return checksum.unseal(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{file} cannot be read ({error}); calibrate again") from error


def _load_weights(path: pathlib.Path, size: Size) -> Model:
    """A released model as it is, or a backbone's weights under GeM."""
    file = resolve(str(path))
    arrays = files.read(file, "a released model or a backbone")
    found = released.find(file, arrays)
    if found is not None:
        family = FAMILIES[found.family]
        network = Network(found.config, found.variables)
        return of_network(
            network, None, _sized(family.form, size), f"{found.title}, {network.title}"
        )
    model_config, variables = off_the_shelf.gem(str(path), arrays)
    network = Network(model_config, variables)
    return of_network(network, None, _sized(WEIGHTS_FORM, size), f"{network.title}, off the shelf")


def of_network(
    network: Network,
    projection: whitening.Projection | None,
    form: Form,
    title: str,
    batch: int = 32,
    facts: dict | None = None,
) -> Model:
    """Joins a network in memory and its projection to a model.

    Raises:
      ConfigError: images of this form are too small for the network.
    """
    dimension, digest = network.dimension(form), network.fingerprint
    if projection is not None:
        arrays = {"mean": projection.mean, "kernel": projection.kernel}
        dimension = projection.kernel.shape[1]
        digest = hashlib.sha256((digest + checksum.of_arrays(arrays)).encode()).hexdigest()
    return Model(
        network,
        projection,
        form,
        title=title,
        dimension=dimension,
        digest=digest,
        batch=batch,
        facts=facts,
    )
