"""Evaluation of one model: descriptors of every split, search, figures."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from vprjax.console import log
from vprjax.data import protocol, source, together
from vprjax.descriptors import store, whitening
from vprjax.descriptors.extraction import Extractor, descriptor_size
from vprjax.errors import ConfigError
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.evaluation.measure import Described, Search, measure
from vprjax.evaluation.result import Result
from vprjax.runtime import parallel


def evaluate(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> dict[str, Result]:
    """Returns the result per query split; see `with_cost`."""
    return with_cost(config, extract, variables, name, folder, dataset)[0]


def with_cost(
    config, extract: Extractor, variables, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> tuple[dict[str, Result], dict]:
    """Matches every query split to the reference split and measures the matches, and the descriptors' cost.

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
      the result per query split, and what `of_descriptors` returns of the cost.

    Raises:
      ConfigError: the `eval` section asks for what the dataset or the memory does not allow.
    """
    return of_descriptors(config, _of_network(config, extract, variables), name, folder, dataset)


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
    of_model = _of_network(config, extract, variables)
    describe = _describer(
        other.config, of_model, f"{name}_{other.folder}", folder, other.dataset, []
    )
    pca = None
    if config.eval.pca:
        parallel.barrier("projection")  # the first process writes it
        pca = whitening.read(pca_file(folder, name), of_model.fingerprint)
    reference = describe(other.config.dataset.reference_split)
    return _measured(other.config, other.dataset, describe, (of_model, reference), pca, name)


@dataclasses.dataclass(frozen=True)
class Descriptors:
    """What evaluation asks of a model or a baseline.

    Attributes:
      fingerprint: equal ones mean equal descriptors.
      dimension: of the descriptors of these images.
      stream: `(images, words for the progress bar, first)` yields blocks `(m, d)` from image `first` on.
      search: in place of the exact search by L2.
      doubts: sentences on descriptors `(n, d)` of a split that its result repeats.
      bits: of a number of the descriptor, as a map would keep it.
    """

    fingerprint: str
    dimension: Callable[[source.Places], int]
    stream: Callable[[source.Places, str, int], Iterator[np.ndarray]]
    search: Search | None = None
    doubts: Callable[[str, np.ndarray], list[str]] = lambda split, rows: []
    bits: int = 32


def _of_network(config, extract: Extractor, variables) -> Descriptors:
    replicated = parallel.replicate(variables)

    def stream(places: source.Places, words: str, first: int) -> Iterator[np.ndarray]:
        return extract.stream(replicated, places, np.arange(len(places)), words, first)

    return Descriptors(
        store.fingerprint(config.model, variables),
        lambda places: descriptor_size(extract.apply_fn, variables, places),
        stream,
    )


def of_descriptors(
    config, of_model: Descriptors, name: str, folder: pathlib.Path, dataset: source.Dataset
) -> tuple[dict[str, Result], dict]:
    """Evaluates whatever makes descriptors.

    Returns:
      the result per query split; and `dimension`, `bytes_per_image` and `ms_per_image`, the median over
      batches with their decoding, None where all descriptors were there.
    """
    ms: list[float] = []
    describe = _describer(config, of_model, name, folder, dataset, ms)
    reference = describe(config.dataset.reference_split)
    pca = None
    if config.eval.pca:
        pca = _fit_pca(config, describe, pca_file(folder, name), of_model.fingerprint)
    results = _measured(config, dataset, describe, (of_model, reference), pca, name)
    size = reference.rows.shape[1] if pca is None else pca.kernel.shape[1]
    cost = {
        "dimension": size,
        "bytes_per_image": -(-size * of_model.bits // 8),
        "ms_per_image": round(float(np.median(ms)), 3) if ms else None,
    }
    return results, cost


def _describer(
    config,
    of_model: Descriptors,
    name: str,
    folder: pathlib.Path,
    dataset: source.Dataset,
    ms: list[float],
) -> Callable[[str], Described]:
    """Returns `split -> Described`, by stores whose names begin with `name`; `ms` receives times."""
    title = name.replace("_", " ")

    def describe(split: str) -> Described:
        places, words = dataset.places((split,)), f"describe {split} ({title})"
        frames = together.frames_of(places)
        at = folder / "descriptors" / f"{name}_{split}"
        key = {"model": of_model.fingerprint, "split": split, "image_set": frames.contents}
        if parallel.is_primary() and store.discard_other(at, key, config.eval.descriptor_dtype):
            log(
                f"{at} held descriptors of another model, other images or another type: computed anew"
            )
        written = store.write(
            at,
            key,
            frames,
            of_model.dimension(frames),
            config.eval.descriptor_dtype,
            lambda first: timed(of_model.stream(frames, words, first), ms),
        )
        return Described(places, together.described(places, written.rows))

    return describe


def _measured(
    config, dataset: source.Dataset, describe, side: tuple[Descriptors, Described], pca, name: str
) -> dict[str, Result]:
    """The result per query split; `side` is the model and its references."""
    of_model, reference = side
    doubts = of_model.doubts(config.dataset.reference_split, reference.rows)

    def measured(split: str) -> Result:
        words = f"search {split} ({name.replace('_', ' ')})"
        listed = protocol.positives(dataset, split, config.dataset.reference_split)
        query = dataclasses.replace(describe(split), positives=listed)
        found = measure(
            config, query, reference, pca, lambda x: log(f"{words}: {x}"), of_model.search
        )
        more = [*found.figures.warnings, *doubts, *of_model.doubts(split, query.rows)]
        return dataclasses.replace(found, figures=dataclasses.replace(found.figures, warnings=more))

    return {split: measured(split) for split in config.dataset.query_splits}


def timed(blocks: Iterator[np.ndarray], ms: list[float]) -> Iterator[np.ndarray]:
    """Yields `blocks`, and adds the milliseconds per image of each but the first, which may compile."""
    began, first = time.perf_counter(), True
    for block in blocks:
        if not first:
            ms.append(1e3 * (time.perf_counter() - began) / len(block))
        yield block
        began, first = time.perf_counter(), False


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
        raise ConfigError(
            f"eval.pca={config.eval.pca}: {error}; lower it, or name others in dataset.train_splits"
        ) from error
    if parallel.process_count() > 1:  # another CPU may flip the sign of eigenvectors
        one = (found.mean.astype(np.float32), found.kernel.astype(np.float32))
        found = whitening.Projection(*parallel.copied_from_first(one))
    if parallel.is_primary():
        whitening.save(path, found, model)
    return found
