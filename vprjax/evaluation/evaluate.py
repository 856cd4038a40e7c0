"""Evaluation of one model: descriptors of every split, search, figures."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from vprjax.console import log
from vprjax.data import protocol, source
from vprjax.descriptors import store, whitening
from vprjax.descriptors.extraction import Extractor, descriptor_size
from vprjax.errors import ConfigError
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.measure import Described, measure
from vprjax.evaluation.result import Result
from vprjax.runtime import parallel


def evaluate(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> dict[str, Result]:
    """Matches every query split to the reference split and measures the matches.

    Descriptors go through stores in `folder / "descriptors"`: a killed evaluation continues from them.
    A later one reuses those of the same model and images, such as a map's under other queries.

    Args:
      config: the whole config.
      extract: the model's extractor.
      variables: the model's variables, on the host.
      name: the model's key in `result.MODEL_NAMES`.
      folder: the workdir.
      dataset: the evaluated dataset.

    Returns:
      The result per query split.

    Raises:
      ConfigError: the `eval` section asks for what the dataset or the memory does not allow.
    """
    describe = _describer(config, extract, variables, name, folder, dataset)
    reference = describe(config.dataset.reference_split)
    pca = None
    if config.eval.pca:
        model = store.fingerprint(config.model, variables)
        pca = _fit_pca(config, describe, pca_file(folder, name), model)
    return _measured(config, dataset, describe, reference, pca, name)


def abroad(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, other: Elsewhere
) -> dict[str, Result]:
    """`evaluate` on another dataset, after `evaluate`, whose projection follows the model there.

    Args:
      config: the whole config of the model's own evaluation.
      extract: the model's extractor.
      variables: the model's variables, on the host.
      name: the model's key in `result.MODEL_NAMES`.
      folder: the workdir.
      other: the other dataset.

    Raises:
      ConfigError: the search lacks memory.
      DataError: the projection is missing or of another model.
    """
    describe = _describer(
        other.config, extract, variables, f"{name}_{other.folder}", folder, other.dataset
    )
    pca = None
    if config.eval.pca:
        parallel.barrier("projection")  # the first process writes it
        model = store.fingerprint(config.model, variables)
        pca = whitening.read(pca_file(folder, name), model)
    reference = describe(other.config.dataset.reference_split)
    return _measured(other.config, other.dataset, describe, reference, pca, name)


def _describer(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> Callable[[str], Described]:
    """Returns `split -> Described` of one model on one dataset, by stores whose names begin with `name`."""
    replicated, title = parallel.replicate(variables), name.replace("_", " ")
    model = store.fingerprint(config.model, variables)

    def describe(split: str) -> Described:
        places = dataset.places((split,))
        every, words = np.arange(len(places)), f"describe {split} ({title})"
        dimension = descriptor_size(extract.apply_fn, variables, places)
        at = folder / "descriptors" / f"{name}_{split}"
        key = {"model": model, "split": split, "image_set": places.contents}
        if parallel.is_primary() and store.discard_other(at, key, config.eval.descriptor_dtype):
            log(
                f"{at} held descriptors of another model, other images or another type: computed anew"
            )
        written = store.write(
            at,
            key,
            places,
            dimension,
            config.eval.descriptor_dtype,
            lambda first: extract.stream(replicated, places, every, words, first),
        )
        return Described(places, written.rows)

    return describe


def _measured(
    config, dataset: source.Dataset, describe, reference: Described, pca, name: str
) -> dict[str, Result]:
    """The result per query split."""

    def measured(split: str) -> Result:
        words = f"search {split} ({name.replace('_', ' ')})"
        listed = protocol.positives(dataset, split, config.dataset.reference_split)
        query = dataclasses.replace(describe(split), positives=listed)
        return measure(config, query, reference, pca, lambda x: log(f"{words}: {x}"))

    return {split: measured(split) for split in config.dataset.query_splits}


def pca_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file in the workdir with the projection of the model `name`."""
    return folder / f"pca_{name}.npz"


def _fit_pca(config, describe, path: pathlib.Path, model: str) -> whitening.Projection:
    """PCA of training descriptors, evenly spread, as many as memory allows; saved as `path`."""
    if not config.dataset.train_splits:
        raise ConfigError("eval.pca needs dataset.train_splits: it is fit to their descriptors")
    rows = [describe(split).rows for split in config.dataset.train_splits]
    stride, _ = whitening.rows([len(r) for r in rows], rows[0].shape[1])
    some = np.concatenate([np.asarray(r[::stride], np.float32) for r in rows])
    try:
        found = whitening.learn(some, config.eval.pca, config.eval.pca_whiten)
    except ValueError as error:
        raise ConfigError(f"eval.pca: {error}; lower it") from error
    if parallel.process_count() > 1:  # another CPU may flip the sign of eigenvectors
        one = (found.mean.astype(np.float32), found.kernel.astype(np.float32))
        found = whitening.Projection(*parallel.copied_from_first(one))
    if parallel.is_primary():
        whitening.save(path, found, model)
    return found
