"""Splits that must not hold the same images, whatever their names are."""

import dataclasses
from collections.abc import Iterator

from vprjax.data import same_images
from vprjax.data.source import Dataset
from vprjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A split whose images another one must not hold: their datasets and names, and what would follow."""

    split: tuple[Dataset, str]
    other: tuple[Dataset, str]
    follows: str


def check(config, dataset: Dataset, trained: tuple[Dataset, tuple[str, ...]] | None) -> list[str]:
    """Returns a sentence per pair of splits that share a few images.

    Args:
      config: the whole config.
      dataset: the evaluated dataset.
      trained: the dataset and the splits that an evaluated model trained on; None for a job that trains on
        `config.dataset.train_splits`.

    Raises:
      ConfigError: a split holds half of the images of another, or more.
      DataError: an image cannot be read.
    """
    pairs = [*_tested(config, dataset, trained or (dataset, _trains_on(config)))]
    if trained is None:
        pairs += [*_training(config, dataset)]
    found = []
    for pair in pairs:
        (one, split), (other, other_split) = pair.split, pair.other
        if one is other and split == other_split:
            continue  # the checks of names allow it
        same = same_images.shared(one, split, other, other_split)
        sentence = (
            f"{same.found:,} of {same.looked:,} images of split {split!r} are those of split "
            f"{other_split!r}{'' if one is other else f' of {other.name}'}, byte for byte: {pair.follows}"
        )
        if same.most:
            raise ConfigError(f"{sentence}; name another split, or build the dataset without them")
        if same.found:
            found.append(sentence)
    return found


def _trains_on(config) -> tuple[str, ...]:
    return tuple(config.dataset.train_splits) if config.train.steps else ()


def _tested(config, dataset: Dataset, trained) -> Iterator[_Pair]:
    """Yields the pairs of the queries with what they must not find or have been trained on."""
    d, (home, trained_on) = config.dataset, trained
    for name in d.query_splits:
        query = dataset, name
        yield _Pair(query, (dataset, d.reference_split), "such a query finds itself")
        for split in trained_on:
            follows = "a query that was trained on measures nothing"
            yield _Pair(query, (home, split), follows)


def _training(config, dataset: Dataset) -> Iterator[_Pair]:
    """Yields the pairs of training splits, and of the splits that validation reads."""
    v, names = config.validation, sorted(_trains_on(config), key=dataset.counts.get)
    for number, name in enumerate(names):
        for larger in names[number + 1 :]:
            follows = "such an image would be its own positive"
            yield _Pair((dataset, name), (dataset, larger), follows)
    if not names or not v.every or not v.query_split:
        return
    query, reference = (dataset, v.query_split), (dataset, v.reference_split)
    yield _Pair(query, reference, "such a query of validation finds itself")
    for name in names:
        follows = "validation would choose the checkpoint that memorises it"
        yield _Pair(query, (dataset, name), follows)
    for name in config.dataset.query_splits:
        follows = "a checkpoint that is chosen on its test makes the figures worthless"
        yield _Pair((dataset, name), query, follows)
