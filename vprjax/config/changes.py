"""The keys that a resumed run may change, and configs of earlier versions under today's names."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence

from vprjax.config.ranges import OWN
from vprjax.errors import ConfigError
from vprjax.models import USUAL_NORMS, multi_scale

# Keys that runs of earlier versions lack, with the values that those runs followed.
LATER = {
    "tuples.positive": "best",
    "tuples.heading_degrees": 0.0,
    "model.released": "",
    "model.norms": USUAL_NORMS,
    "model.scales": multi_scale.ONE,
    "model.scales_power": 1.0,
    "places.by": "cell",
    "tuples.push": "always",
    "model.lora_rank": 0,
    **dict.fromkeys(("others.names", "others.weights", "others.cell"), ()),
    **dict.fromkeys(("others.positive_radius", "others.negative_radius"), ()),
    "others.other_visit_seconds": (),
    **dict.fromkeys(("augment.perspective", "augment.rotate", "augment.hue"), 0.0),
    **dict.fromkeys(("augment.saturation", "augment.grey", "augment.blur", "augment.erase"), 0.0),
    "optim.depth_rate": 1.0,
    "optim.release": (),
    "optim.keep_start": 0.0,
    "keep.images": (),
    "keep.batch": 16,
    "keep.weight": 0.0,
    "keep.batch_weight": 0.0,
    "eval.other_datasets": (),
    "eval.other_tolerances": (),
    "eval.blend": "off",
    "eval.blend_runs": (),
    "eval.blend_weights": (),
    "eval.keep_dataset": "",
    "eval.keep_tolerances": (),
    "eval.rerank": 0,
    "eval.rerank_bits": 512,
    "baseline.name": "",
    "eval.standardise": "",
    "eval.query_expansion": 0,
    "eval.database_augmentation": 0,
    "eval.expansion_power": 3.0,
}
SECTIONS = ("baseline", "keep", "others")  # that runs of earlier versions lack
# The key of each section that picks its variant.
CHOICE = {"model": "pooling", "loss": "name", "baseline": "name"}

# Old name -> new name: the keys of one head or loss alone have their own section.
RENAMED = {
    "model.gem_p": "model.gem.p",
    "model.gem_per_channel": "model.gem.per_channel",
    "model.netvlad_clusters": "model.netvlad.clusters",
    "loss.triplet_margin": "loss.triplet.margin",
    "loss.contrastive_margin": "loss.contrastive.margin",
    "loss.contrastive_squared": "loss.contrastive.squared",
    "loss.arcface_margin": "loss.arcface.margin",
    "loss.arcface_margin_warmup": "loss.arcface.margin_warmup",
    "loss.arcface_scale": "loss.arcface.scale",
    "loss.arcface_classes": "loss.arcface.classes",
    "optim.gem_p_rate": "model.gem.p_rate",
    "optim.class_rate": "loss.arcface.class_rate",
}
GONE = "model.param_dtype"  # its one legal value was float32

# A resumed run may change these keys: no saved array depends on them, or only later steps do.
FREE = (
    *("dataset.name", "model.weights"),  # the run's provenance records what matters of them
    "model.released",
    *("dataset.data_dir", "dataset.reference_split", "dataset.query_splits", "dataset.tolerances"),
    *("dataset.position_unit", "model.partial_weights", "model.compute_dtype", "model.remat"),
    *("optim.learning_rate", "optim.weight_decay", "optim.momentum", "optim.warmup_steps"),
    *("optim.clip_norm", "optim.head_rate", "optim.depth_rate"),
    *("train.steps", "train.accumulate", "train.log_every", "train.checkpoint_every"),
    *("train.keep_checkpoints", "validation.patience", "tuples.mining_pool"),
)
# These are not free where validation chooses checkpoints: its earlier figures depend on the old values.
VALIDATED = (
    *("dataset.tolerances", "eval.heading_degrees", "eval.standardise", "eval.query_expansion"),
    *("eval.database_augmentation", "eval.expansion_power", "eval.rerank", "eval.rerank_bits"),
)
# Such a key changes nothing while all these are off.
ONLY_WITH = {
    "eval.rerank_bits": ("rerank",),
    "eval.expansion_power": ("query_expansion", "database_augmentation"),
}


def completed(saved: Mapping) -> dict:
    """Returns a run's config, perhaps of an earlier version, with this version's keys and names."""
    out = copy.deepcopy(dict(saved))
    for old, new in RENAMED.items():
        _rename(out, old, new)
    section = out.get("model")
    if isinstance(section, dict) and section.get("param_dtype") == "float32":
        del section["param_dtype"]  # its one legal value
    if "eval" in out:  # a whole config, which earlier versions kept without these sections
        for section in SECTIONS:
            out.setdefault(section, {})
    for key, value in LATER.items():
        section, _, name = key.partition(".")
        if isinstance(out.get(section), dict):
            out[section].setdefault(name, value)
    for key, own in OWN.items():  # a head or loss of a later version
        section, name, last = key.split(".")
        if isinstance(out.get(section), dict):
            out[section].setdefault(name, {}).setdefault(last, own.default)
    return out


def _rename(config: dict, old: str, new: str) -> None:
    """Moves the value of a dotted key, where there is one, to its new key."""
    section, _, name = old.partition(".")
    values = config.get(section)
    if not isinstance(values, dict) or name not in values:
        return
    *sections, last = new.split(".")
    value, inner = values.pop(name), config
    for part in sections:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            return
    inner.setdefault(last, value)


def renamed_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns command-line flags with this version's key names, and one sentence per old name.

    `--config.loss.triplet_margin=0.2` becomes `--config.loss.triplet.margin=0.2`.
    """
    out, sentences = [], []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        dashes = flag[: len(flag) - len(flag.lstrip("-"))]
        key = flag.removeprefix(dashes).removeprefix("config.")
        if dashes and flag == f"{dashes}config.{key}" and key in RENAMED:
            argument = f"{dashes}config.{RENAMED[key]}{equals}{value}"
            sentences.append(f"config key {key} is now {RENAMED[key]}")
        if dashes and argument in (
            f"{dashes}config.{GONE}=float32",
            f"{dashes}config.{GONE}='float32'",
        ):
            sentences.append(f"config key {GONE} is gone: parameters are always float32")
            continue
        out.append(argument)
    return out, sentences


def leaves(config: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields every dotted key of a config, `"train.steps"`, with its value."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def differences(before: Mapping, after: Mapping) -> dict[str, tuple]:
    """Returns the dotted keys whose values differ, sorted, with both values: `{"optim.ema": (0.0, 0.9)}`.

    Either config may come from JSON, which has no tuples, or from an earlier version. None stands for a key
    that one of them lacks.
    """
    was, now = (
        json.loads(json.dumps(dict(leaves(completed(config))))) for config in (before, after)
    )
    keys = sorted(was.keys() | now.keys())
    return {key: (was.get(key), now.get(key)) for key in keys if was.get(key) != now.get(key)}


def _chosen(key: str, config) -> bool:
    """Returns whether the head, loss or baseline that a key belongs to is the one that a config picks."""
    section, name, _ = key.split(".")
    return config[section][CHOICE[section]] == name


def check_resumed(
    config, provenance: Mapping, saved: Mapping, folder, without_effect: Sequence[str] = ()
) -> None:
    """Raises ConfigError where the run saved in `folder` began with a value that this run may not change.

    Another digest of the training images (`image_set`) comes from a dataset that was built anew. The keys
    `without_effect` change nothing for these images. A head, loss or baseline that the config does not pick
    has keys without effect.
    """
    facts = ["trained_on", "weights_sha256"]
    # Earlier versions lack some.
    facts += [
        name for name in ("image_set", "keep_set", "others_set") if name in saved["provenance"]
    ]
    made, makes = ({key: of.get(key) for key in facts} for of in (saved["provenance"], provenance))
    pairs = differences(made, makes) | differences(saved["config"], config.to_dict())
    for key, (was, now) in pairs.items():
        free = (
            key in (*FREE, *without_effect)
            or key.startswith("eval.")
            or (key in OWN and (OWN[key].free or not _chosen(key, config)))
        )
        idle = key in ONLY_WITH and not any(config.eval[name] for name in ONLY_WITH[key])
        if not free or (config.validation.every and key in VALIDATED and not idle):
            back = "build the dataset as it was" if key == "image_set" else "set it back"
            raise ConfigError(
                f"{folder} holds a run with {key}={was!r}, this one has {now!r}: name another --workdir "
                f"or {back}"
            )
