"""The catalogue of released models, and the facts of one file."""

import difflib
import pathlib
from typing import Any

from vprjax.errors import WeightsError
from vprjax.weights.released import FAMILIES
from vprjax.weights.released.variant import Family, Release

_SHOWN = 8  # names of unused arrays in a text
_COUNTER = ".num_batches_tracked"
_USE = (
    "--config=configs/released.py:NAME evaluates and fine-tunes one, with --config.model.weights=FILE;\n"
    "vprjax.load and python -m vprjax.localize take the file. Commands: vprjax/weights/README.md"
)
# A norm of `models.NORMS` -> what has L2 length 1.
_UNIT = {
    "local": "each local descriptor",
    "pooled": "the pooled vector",
    "descriptor": "the linear layer's output",
}


def rows() -> list[dict[str, Any]]:
    """Returns one row per released file, JSON values; `parameters` are millions."""
    return [
        {
            "name": name,
            "family": family.title,
            "dimension": release.dimension,
            "input_rule": family.input_rule,
            "file": release.file,
            "licence": family.licence,
            "parameters": release.parameters,
            "reference": family.reference,
        }
        for family in FAMILIES.values()
        for name, release in family.releases.items()
    ]


def table(found: list[dict[str, Any]]) -> str:
    """Returns `rows` as text: two lines per family, and one per file below them."""
    width = max(len(row["name"]) for row in found)
    lines, family = [], ""
    for row in found:
        if row["family"] != family:
            family = row["family"]
            lines += [
                "",
                f"{family} (licence: {row['licence']}), images: {row['input_rule']}",
                row["reference"],
            ]
        lines.append(
            f"  {row['name'].ljust(width)}  {row['dimension']:>6} dimensions  "
            f"{row['parameters']:>6.1f} M parameters  {row['file']}"
        )
    return "\n".join([*lines[1:], "", _USE])


def describe(path: str) -> dict[str, Any]:
    """Returns the facts of a released model's file, JSON values.

    Raises:
      WeightsError: the file is unreadable, no released model, or its arrays do not fit.
    """
    # Here, because a list alone needs neither JAX's arrays nor the readers.
    import jax

    from vprjax.models.backbones import BACKBONES
    from vprjax.models.heads import HEADS
    from vprjax.weights import pretrained
    from vprjax.weights.released import load

    _check_named(path)
    found = load.read(path)
    family, config = FAMILIES[found.family], found.config
    parts = [BACKBONES[config.backbone].title, config.stage, HEADS[config.pooling].title]
    parts += [f"linear layer to {config.projection}"] if config.projection else []
    scaling = found.variables["preprocess"]
    return {
        "file": str(pathlib.Path(path)),
        "family": found.title,
        "released_as": load.released_as(found),
        "architecture": ", ".join(filter(None, parts)),
        "normalised": [n for n in config.norms if n != "descriptor" or config.projection],
        "dimension": load.dimension(found),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"])),
        "input_rule": family.input_rule,
        "size": [family.form.height, family.form.width],
        "mean": [round(float(value), 4) for value in scaling["mean"]],
        "std": [round(float(value), 4) for value in scaling["std"]],
        "licence": family.licence,
        "reference": family.reference,
        "sha256": pretrained.fingerprint(path),
        "unused": list(found.unused),
    }


def text(facts: dict[str, Any]) -> str:
    """Returns the facts of `describe` as lines."""
    height, width = facts["size"]
    lines = {
        "file": facts["file"],
        "family": facts["family"],
        "released as": " or ".join(facts["released_as"]) or "no file of the catalogue",
        "architecture": facts["architecture"],
        "L2 length 1": ", ".join(_UNIT[norm] for norm in facts["normalised"]) or "nothing",
        "dimensions": facts["dimension"],
        "parameters": f"{facts['parameters']:,}",
        "images": facts["input_rule"],
        "size here": f"{height} x {width} pixels (height x width), where no other is asked for",
        "preprocessing": f"(x - {facts['mean']}) / {facts['std']}, RGB, 0 to 255",
        "licence": facts["licence"],
        "reference": facts["reference"],
        "sha256": facts["sha256"],
        "unused arrays": _unused(facts["unused"]),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items())


def _unused(names: list[str]) -> str:
    """Names the first arrays, and counts the counters that every BatchNorm of PyTorch has."""
    others = [name for name in names if not name.endswith(_COUNTER)]
    counters = len(names) - len(others)
    told = [", ".join(others[:_SHOWN])] if others else []
    told += [f"{len(others) - _SHOWN} more"] if len(others) > _SHOWN else []
    told += [f"{counters} counters of BatchNorm"] if counters else []
    return " and ".join(told) or "none"


def _check_named(path: str) -> None:
    """Raises WeightsError where a release's name stands for its file."""
    if path in _by_name() and not pathlib.Path(path).exists():
        raise WeightsError(
            f"{path} is a name of the list, and its file holds the model: describe takes the path of "
            f"{_by_name()[path][1].file}"
        )


def release(name: str) -> tuple[Family, Release]:
    """Returns a release of the catalogue and its family.

    Raises:
      ValueError: the name is unknown; the sentence names the nearest.
    """
    every = _by_name()
    if name not in every:
        near = difflib.get_close_matches(name, every, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"released model {name!r} is not known{hint}; python -m vprjax.weights list names all"
        )
    return every[name]


def backbone_alone(model_config) -> str:
    """Says in one sentence that a released model's config has a backbone's weights; "" for another config.

    The caller found no released model in `model.weights`.
    """
    name, every = model_config.released, _by_name()
    if name not in every:  # "", or one of another version
        return ""
    return (
        f"{model_config.weights} gives the backbone alone: the head starts anew, and these figures are not "
        f"those of {name}; set model.weights to its own file, {every[name][1].file}"
    )


def _by_name() -> dict[str, tuple[Family, Release]]:
    return {n: (family, r) for family in FAMILIES.values() for n, r in family.releases.items()}
