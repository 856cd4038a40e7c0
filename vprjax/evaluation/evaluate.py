"""A model's descriptors of every split, matched and measured."""

import hashlib
import pathlib

import numpy as np

from vprjax.console import log
from vprjax.data import source
from vprjax.descriptors import store, whitening
from vprjax.descriptors.extraction import Extractor, descriptor_size
from vprjax.errors import ConfigError, naming
from vprjax.evaluation.measure import Described, measure
from vprjax.runtime import parallel


def evaluate(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> dict[str, dict]:
    """Matches every query split to the reference split and measures it.

    Descriptors go through stores in `folder / "descriptors"`, so that a killed evaluation goes on where
    it was.

    Args:
      config: the whole config.
      extract: the model's extractor.
      variables: the model's variables, on the host.
      name: of the model, "off_the_shelf" or "fine_tuned".
      folder: the workdir.
      dataset: the evaluated dataset.

    Returns:
      For every query split what `measure` gives.

    Raises:
      ConfigError: the dataset does not allow what the `eval` section asks.
    """
    replicated = parallel.replicate(variables)
    key = {
        "model": store.fingerprint(config.model, variables),
        "dataset": f"{dataset.name}:{dataset.version}",
    }

    def describe(split: str) -> Described:
        places = dataset.places((split,))
        every = np.arange(len(places))
        words = f"describe {split} ({name.replace('_', ' ')})"
        dimension = descriptor_size(extract.apply_fn, variables, places)
        written = store.write(
            folder / "descriptors" / f"{name}_{split}",
            key | {"split": split, "image_set": _image_set(dataset, places)},
            places,
            dimension,
            config.eval.descriptor_dtype,
            lambda first: extract.stream(replicated, places, every, words, first),
        )
        return Described(places, written.rows)

    reference = describe(config.dataset.reference_split)
    reduce = _reduction(config, describe) if config.eval.pca else None
    if reduce is not None and parallel.is_primary():
        with naming(folder / f"pca_{name}.npz"):
            np.savez(folder / f"pca_{name}.npz", mean=reduce.mean, kernel=reduce.kernel)
    out = {}
    for split in config.dataset.query_splits:
        words = f"search {split} ({name.replace('_', ' ')})"
        out[split] = measure(
            config, describe(split), reference, reduce, lambda text, w=words: log(f"{w}: {text}")
        )
    return out


def _image_set(dataset: source.Dataset, places: source.Places) -> str:
    """SHA-256 of what tells a split from one that was built anew under the same name and version."""
    digest = hashlib.sha256((dataset.folder / "dataset_info.json").read_bytes())
    digest.update("\n".join(map(str, places.image_ids)).encode())
    digest.update(np.ascontiguousarray(places.positions).tobytes())
    return digest.hexdigest()


def _reduction(config, describe) -> whitening.Projection:
    """PCA of the descriptors of training images, evenly spread, as many as memory allows."""
    if not config.dataset.train_splits:
        raise ConfigError("eval.pca needs dataset.train_splits, whose images it learns from")
    rows = [describe(split).rows for split in config.dataset.train_splits]
    stride, _ = whitening.rows([len(r) for r in rows], rows[0].shape[1])
    some = np.concatenate([np.asarray(r[::stride], np.float32) for r in rows])
    try:
        found = whitening.learn(some, config.eval.pca, config.eval.pca_whiten)
    except ValueError as error:
        raise ConfigError(f"eval.pca: {error}; lower it") from error
    if parallel.process_count() == 1:
        return found
    # Another CPU may turn eigenvectors.
    one = (found.mean.astype(np.float32), found.kernel.astype(np.float32))
    return whitening.Projection(*parallel.copied_from_first(one))
