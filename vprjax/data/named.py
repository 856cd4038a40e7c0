"""Splits of other prepared datasets, named `NAME:SPLIT` or `NAME:SPLIT,SPLIT`."""

import dataclasses
import types
from collections.abc import Iterable

from ml_collections import ConfigDict

from vprjax.data import rendered, source
from vprjax.data.source import Dataset, Places
from vprjax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Named:
    """Splits of one dataset.

    Attributes:
      dataset: the open dataset.
      splits: names of the splits.
      places: their images, one split after the other.
    """

    dataset: Dataset
    splits: tuple[str, ...]
    places: Places

    def __str__(self) -> str:
        return f"{self.dataset.name}:{self.dataset.version}:{','.join(self.splits)}"


def parse(key: str, text: str) -> tuple[str, tuple[str, ...]]:
    """Splits `builder/config:version:SPLIT,SPLIT` into the dataset's name, and its splits.

    Raises:
      ConfigError: no split is named; the sentence names the config key `key`.
    """
    name, colon, splits = text.rpartition(":")
    names = tuple(filter(None, splits.split(",")))
    if not colon or not name or not names:
        raise ConfigError(
            f"{key}: {text!r} must name a dataset and splits of it, as in 'places_csv/mine:train' or "
            "'places_csv/mine:train_summer,train_winter'"
        )
    return name, names


def open_named(config, key: str, text: str) -> Named:
    """Opens the splits that `text` names, below the folder of the config's dataset.

    A rendered dataset that is missing is built.

    Raises:
      ConfigError: `text` names no split.
      DataError: the dataset is not built, or lacks the splits or their images; the sentence names `key`.
    """
    name, splits = parse(key, text)
    section = ConfigDict({"name": name, "data_dir": config.dataset.data_dir})
    one = types.SimpleNamespace(dataset=section)
    rendered.build_missing(one)
    try:
        dataset = source.open_dataset(one)
        places = dataset.places(splits)
    except DataError as error:
        raise DataError(source.under_key(error, key)) from error
    empty = [split for split in splits if not dataset.counts.get(split)]
    if empty:
        raise DataError(f"{key}: dataset {dataset.folder} has no images in split {empty[0]!r}")
    return Named(dataset, splits, places)


def still_there(texts: Iterable[str], *data_dirs: str) -> tuple[Named, ...]:
    """Opens what each of `texts` names, below the first of `data_dirs` that holds it, if one does."""
    found = []
    for text in texts:
        name, splits = parse("", text)
        for folder in dict.fromkeys(data_dirs):
            section = ConfigDict({"name": name, "data_dir": folder})
            try:
                dataset = source.open_dataset(types.SimpleNamespace(dataset=section))
                found.append(Named(dataset, splits, dataset.places(splits)))
                break
            except DataError:
                continue
    return tuple(found)


def image_size(places: Places) -> tuple[int, int]:
    """Returns height and width of the first image."""
    return places.images([0]).shape[1:3]
