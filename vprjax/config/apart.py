"""Splits that must not hold the same images, whatever their names are."""

import dataclasses
from collections.abc import Iterable, Iterator

from vprjax.data import same_images
from vprjax.data.named import Named
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
    return _told(pairs)


def check_named(config, dataset: Dataset, parts: Iterable[Named]) -> list[str]:
    """Returns a sentence per split that shares a few images with a query split, which training reads too.

    `parts` are further datasets to train on and the keep images.

    Raises:
      ConfigError: a query split holds half of the images of such a split, or more.
      DataError: an image cannot be read.
    """
    v = config.validation
    asked = [*config.dataset.query_splits, *([v.query_split] if v.every and v.query_split else [])]
    return check_seen(dataset, asked, parts)


def check_others(config, dataset: Dataset, parts: Iterable[Named]) -> list[str]:
    """Returns a sentence per pair of splits that share a few images and must not train together.

    `parts` are further datasets to train on.

    Raises:
      ConfigError: one holds half of the images of the other, or more.
      DataError: an image cannot be read.
    """
    return _told(pair for part in parts for pair in _of_part(config, dataset, part))


def _of_part(config, dataset: Dataset, part: Named) -> Iterator[_Pair]:
    """Yields the pairs of a part's splits, and of each with the images that a stretch is held out of."""
    size = part.dataset.counts.get
    names = sorted(part.splits, key=size)
    for number, name in enumerate(names):
        for larger in names[number + 1 :]:
            follows = f"such an image of {part} would be its own positive"
            yield _Pair((part.dataset, name), (part.dataset, larger), follows)
    v = config.validation
    if not v.every or v.query_split:
        return
    follows = "validation holds out a stretch of these images, which others.names would train on"
    for home in _trains_on(config):
        for name in names:
            pair = (dataset, home), (part.dataset, name)
            smaller, larger = sorted(pair, key=lambda side: side[0].counts[side[1]])
            yield _Pair(smaller, larger, follows)


def check_seen(dataset: Dataset, asked: Iterable[str], parts: Iterable[Named]) -> list[str]:
    """Returns a sentence per split of `asked` that shares a few images with `parts`, which training reads.

    Raises:
      ConfigError: one holds half of the images of such a split, or more.
      DataError: an image cannot be read.
    """
    asked = tuple(asked)
    follows = "training would see what it is measured on"
    return _told(
        _Pair((dataset, query), (part.dataset, split), follows)
        for part in parts
        for split in part.splits
        for query in asked
    )


def _told(pairs: Iterable[_Pair]) -> list[str]:
    """Returns a sentence per pair that shares a few images; raises ConfigError where one shares most."""
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
