"""Which keys a resumed run may change, and how a config of an earlier version reads today."""

import copy
import json
from collections.abc import Iterator, Mapping

from vprjax.errors import ConfigError

# Keys that the runs of earlier versions lack, with what those did.
LATER = {"tuples.positive": "best"}


# A run may go on with other values of these: they end up in no array, or change only what comes later.
FREE = (
    *("dataset.name", "model.weights"),  # the run's provenance tells what matters of them
    *("dataset.data_dir", "dataset.reference_split", "dataset.query_splits", "dataset.tolerances"),
    *("dataset.position_unit", "model.partial_weights", "model.compute_dtype", "model.remat"),
    *("optim.learning_rate", "optim.weight_decay", "optim.momentum", "optim.warmup_steps"),
    *("optim.clip_norm", "optim.gem_p_rate", "optim.head_rate", "optim.class_rate"),
    *("train.steps", "train.accumulate", "train.log_every", "train.checkpoint_every"),
    *("train.keep_checkpoints", "validation.patience", "tuples.mining_pool"),
)
# But not these where checkpoints are chosen by validation: earlier figures were measured with the old ones.
VALIDATED = ("dataset.tolerances", "eval.heading_degrees")


def completed(saved: Mapping) -> dict:
    """The config of a run, perhaps of an earlier version, with the keys that came later."""
    out = copy.deepcopy(dict(saved))
    for key, value in LATER.items():
        section, _, name = key.partition(".")
        if isinstance(out.get(section), dict):
            out[section].setdefault(name, value)
    return out


def leaves(config: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of a config in dots, `"train.steps"`, with its value."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def differences(before: Mapping, after: Mapping) -> dict[str, tuple]:
    """Keys in dots whose values differ, with both: `{"optim.ema": (0.0, 0.9)}`, sorted.

    Either may come from JSON, which has no tuples, or from an earlier version. A key that one lacks has
    None there.
    """
    was, now = (
        json.loads(json.dumps(dict(leaves(completed(config))))) for config in (before, after)
    )
    keys = sorted(was.keys() | now.keys())
    return {key: (was.get(key), now.get(key)) for key in keys if was.get(key) != now.get(key)}


def check_resumed(config, provenance: Mapping, saved: Mapping, folder) -> None:
    """Raises ConfigError where the run saved in `folder` was begun with what this one does not have.

    Training images that are others (`image_set`) come from a dataset that was built anew since.
    """
    facts = ["trained_on", "weights_sha256"]
    facts += ["image_set"] if "image_set" in saved["provenance"] else []  # which came later
    made, makes = ({key: of.get(key) for key in facts} for of in (saved["provenance"], provenance))
    pairs = differences(made, makes) | differences(saved["config"], config.to_dict())
    for key, (was, now) in pairs.items():
        free = key in FREE or key.startswith("eval.")
        if not free or (config.validation.every and key in VALIDATED):
            back = "build the dataset as it was" if key == "image_set" else "set it back"
            raise ConfigError(
                f"{folder} holds a run with {key}={was!r}, this one has {now!r}: name another --workdir "
                f"or {back}"
            )
