"""What training reads besides home: the datasets of `others.names` and the keep images."""

from vprjax import sampling
from vprjax.config import apart
from vprjax.console import log
from vprjax.data import doubts, named, source
from vprjax.data.named import Named
from vprjax.data.source import Places
from vprjax.errors import ConfigError
from vprjax.training.keep import KeepImages


def opened(
    config, dataset: source.Dataset, home: Places
) -> tuple[tuple[Named, ...], KeepImages, tuple[str, ...]]:
    """Opens the further datasets to train on and the keep images; returns sentences on their data too.

    Raises:
      ConfigError: sizes differ, a training image has no position, a split is named twice, or images are
        among them that a test, validation or another split of theirs has.
      DataError: a dataset or a split is missing.
    """
    others, kept = (
        tuple(named.open_named(config, key, text) for text in texts)
        for key, texts in (
            ("others.names", config.others.names),
            ("keep.images", config.keep.images),
        )
    )
    for part in others:
        twice = [split for split in part.splits if part.splits.count(split) > 1]
        if twice:
            raise ConfigError(f"others.names: {part} names {twice[0]!r} twice; name it once")
        lacking = len(part.places) - len(part.places.located)
        if lacking:
            raise ConfigError(
                f"others.names: {lacking:,} of {len(part.places):,} images of {part} have no position: "
                "give them one or leave them out"
            )
    if others:
        trained = [(dataset.name, home), *((str(part), part.places) for part in others)]
        _check_sizes("others.names", trained)
    _check_sizes("keep.images", [(str(part), part.places) for part in kept])
    doubted = [
        *apart.check_named(config, dataset, (*others, *kept)),
        *apart.check_others(config, dataset, others),
        *(words for part in others for words in _doubts_of(config, dataset, part)),
    ]
    for sentence in doubted:
        log(f"warning: {sentence}")
    return others, KeepImages(kept), tuple(doubted)


def _doubts_of(config, dataset: source.Dataset, part: Named) -> list[str]:
    """Returns sentences on the poses of a further dataset, and on lengths in another unit than its own."""
    home, unit = (d.metadata.get("position_unit") or "" for d in (dataset, part.dataset))
    found = [f"{part}: {words}" for words in doubts.of_poses({"it": part.places}, unit)]
    lacking = [key for key in sampling.kind(config).lengths(config) if not config.others[key]]
    if unit != home and lacking:
        keys = " and ".join(f"others.{key}" for key in lacking)
        found.append(
            f"positions of {part} are in {unit or 'an unknown unit'}, those of {dataset.name} in "
            f"{home or 'an unknown unit'}, and its lengths are the home's: set {keys}"
        )
    return found


def _check_sizes(key: str, parts: list[tuple[str, Places]]) -> None:
    """Raises ConfigError where the images of some parts differ in size."""
    sizes = {name: named.image_size(places) for name, places in parts}
    if len({*sizes.values()}) > 1:
        words = ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
        raise ConfigError(
            f"{key}: all images must have one size (height x width), but there are {words}; build the "
            "datasets anew with one"
        )
