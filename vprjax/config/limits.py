"""The demands of an evaluation on the data and the disk, checked ahead of the long work."""

import pathlib
import shutil
from collections.abc import Iterable

import numpy as np

from vprjax.data import source
from vprjax.descriptors import store, whitening
from vprjax.descriptors.extraction import dimensions
from vprjax.errors import ConfigError


def check_pca(config, module, dataset: source.Dataset) -> None:
    """Raises ConfigError where `eval.pca` exceeds the model's dimensions or the training images."""
    if not config.eval.pca:
        return
    if not config.dataset.train_splits:
        raise ConfigError(
            "eval.pca needs dataset.train_splits to fit PCA: name one or set eval.pca=0"
        )
    dimension = dimensions(module, dataset.places(tuple(config.dataset.train_splits[:1])))
    if config.eval.pca > dimension:
        raise ConfigError(
            f"eval.pca={config.eval.pca} must be at most the {dimension} dimensions of the model's "
            "descriptors"
        )
    counts = [dataset.counts[split] for split in config.dataset.train_splits]
    _, rows = whitening.rows(counts, dimension)
    if config.eval.pca >= rows:
        raise ConfigError(
            f"eval.pca={config.eval.pca} must be below the {rows} training images that fit PCA of "
            f"{dimension} dimensions"
        )


def check_disk(
    config, module, dataset: source.Dataset, folder: pathlib.Path, models: int = 2, others=()
) -> None:
    """Raises ConfigError where the disk has no room for the descriptors of all models.

    `others` are further datasets that the models describe, each with its `config` and `dataset`.
    """
    if not config.dataset.query_splits:
        return
    trained = config.dataset.train_splits if config.eval.pca else ()
    sides = [(config, dataset, trained), *((o.config, o.dataset, ()) for o in others)]
    splits, images, numbers = set(), 0, 0
    for side, read, more in sides:
        own = {side.dataset.reference_split, *side.dataset.query_splits, *more}
        count = sum(read.images(split) for split in own)
        dimension = dimensions(module, read.places((side.dataset.reference_split,)))
        splits, images, numbers = splits | own, images + count, numbers + count * dimension
    number = np.dtype(store.DTYPES[config.eval.descriptor_dtype]).itemsize
    needed = models * numbers * number
    stores = [file for split in splits for file in folder.glob(f"descriptors/*_{split}/rows")]
    begun = sum(file.stat().st_size for file in stores)
    free = _free(folder)
    if needed - begun > free:
        raise ConfigError(
            f"evaluation keeps {images:,} descriptors of {numbers // images:,} dimensions per model in "
            f"{folder / 'descriptors'}: it takes {needed / 1e9:.1f} GB, {begun / 1e9:.1f} are there and "
            f"{free / 1e9:.1f} are free; name a --workdir with more room"
            + (" or set eval.descriptor_dtype=float16" if number > 2 else "")
        )


def check_untrained(module, sets: Iterable[source.Places], folder: pathlib.Path) -> None:
    """Raises ConfigError where the disk has no room for the untrained model's descriptors of `sets`."""
    counts = [(len(places), dimensions(module, places)) for places in sets]
    images, numbers = sum(count for count, _ in counts), sum(count * d for count, d in counts)
    needed, free = 4 * numbers, _free(folder)
    if needed > free:
        raise ConfigError(
            f"training keeps the untrained model's {images:,} descriptors of {numbers // images:,} "
            "dimensions in "
            f"{folder / 'untrained'}: it takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free; name a "
            "--workdir with more room, or fewer keep.images"
        )


def _free(folder: pathlib.Path) -> int:
    """Returns the free bytes of the disk that holds a folder, or will."""
    there = next(part for part in (folder, *folder.parents) if part.exists())
    return shutil.disk_usage(there).free
