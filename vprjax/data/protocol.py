"""How the figures on a dataset are counted: what its metadata say, and what a run's config does."""

from collections.abc import Iterator

import numpy as np

from vprjax.data.source import Dataset
from vprjax.errors import ConfigError, DataError


def used(config, dataset: Dataset) -> dict:
    """The protocol of a run's figures, as JSON.

    `name`, `positives`, `queries` and `source` are the dataset's, and missing where it names no protocol.
    `radius` (position units; None where right answers are listed) and `heading_degrees` are the run's.
    """
    named = dataset.metadata.get("protocol") or {}
    return {
        **{key: named[key] for key in ("name", "positives", "queries", "source") if key in named},
        "radius": None if listed(dataset) else radius(config),
        "heading_degrees": config.eval.heading_degrees,
    }


def listed(dataset: Dataset) -> bool:
    """Whether the dataset lists right answers, so that no distance counts."""
    return bool(dataset.metadata.get("positives"))


def radius(config) -> float:
    """Distance within which recall@N and precision count a right answer, position units."""
    return config.eval.recall_radius or max(config.dataset.tolerances)


def words(protocol: dict) -> str:
    """One line on `used` for people."""
    if "name" not in protocol:
        return "the config's: the dataset names none"
    return f"{protocol['name']}: {protocol['positives']}; {protocol['queries']}"


def differences(config, dataset: Dataset) -> Iterator[str]:
    """Yields a sentence where the config counts otherwise than the protocol that the dataset names."""
    named = dataset.metadata.get("protocol")
    if not named:
        return
    unit, own = config.dataset.position_unit, radius(config)
    if named["radius"] is not None and own != named["radius"]:
        yield (
            f"the protocol {named['name']} of {dataset.name} counts right answers within "
            f"{named['radius']:g} {unit}, but recall@N counts {own:g} {unit} (eval.recall_radius, else the "
            "widest of dataset.tolerances): the figures are not that protocol's"
        )
    if config.eval.heading_degrees != named["heading_degrees"]:
        yield (
            f"the protocol {named['name']} of {dataset.name} has headings within "
            f"{named['heading_degrees']:g} degrees, eval.heading_degrees is "
            f"{config.eval.heading_degrees:g}: the figures are not that protocol's"
        )


def check_lists(config, dataset: Dataset) -> None:
    """Checks what lists of right answers ask for, which hold no distances.

    Raises:
      ConfigError: the config counts by distance or heading.
      DataError: the lists are of other images.
    """
    reference = config.dataset.reference_split
    if dataset.metadata.get("windows") and (config.baseline.name or config.eval.sequence_length):
        key = "baseline.name" if config.baseline.name else "eval.sequence_length"
        raise ConfigError(
            f"{dataset.name} asks with windows of frames, whose descriptors are means: {key} compares "
            "single images, so leave it out, or build the dataset under a protocol of single images"
        )
    for split in config.dataset.query_splits:
        if positives(dataset, split, reference) is None:
            continue
        for key, value, right in (
            ("dataset.tolerances", tuple(config.dataset.tolerances), (0.0,)),
            ("eval.recall_radius", config.eval.recall_radius, 0.0),
            ("eval.heading_degrees", config.eval.heading_degrees, 0.0),
        ):
            if value != right:
                raise ConfigError(
                    f"{dataset.name} lists the right answers to {split}, where no distance or heading "
                    f"counts: set {key}={right}, not {value}"
                )


def check_validation(config, dataset: Dataset) -> None:
    """Checks that validation can choose: it counts by distance, and describes single images.

    Raises:
      ConfigError: the dataset lists the right answers to its queries.
    """
    listed_splits = dataset.metadata.get("positives") or {}
    if config.validation.every and any(
        name in listed_splits for name in config.dataset.query_splits
    ):
        raise ConfigError(
            f"{dataset.name} lists its right answers, and validation counts by distance within "
            f"dataset.tolerances={tuple(config.dataset.tolerances)}, where no checkpoint would be better "
            "than another: set validation.every=0"
        )


def positives(dataset: Dataset, query: str, reference: str) -> list[np.ndarray] | None:
    """Per query the numbers of the right references; None where the dataset lists none.

    Raises:
      DataError: the lists are of another reference split or of other images.
    """
    found = (dataset.metadata.get("positives") or {}).get(query)
    if found is None:
        return None
    if found["reference"] != reference:
        raise DataError(
            f"{dataset.name} lists right answers to {query} in {found['reference']!r}, not in "
            f"{reference!r}: set dataset.reference_split={found['reference']}"
        )
    lists = [np.array(right, np.int64) for right in found["lists"]]
    most = max((int(right.max()) for right in lists if len(right)), default=-1)
    if len(lists) != dataset.counts[query] or most >= dataset.counts[reference]:
        raise DataError(
            f"{dataset.folder} lists right answers of {len(lists)} queries up to reference {most}, but "
            f"holds {dataset.counts[query]} and {dataset.counts[reference]}; build the dataset again"
        )
    return lists
