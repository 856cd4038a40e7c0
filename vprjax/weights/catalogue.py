"""The catalogue of released models, and the facts of one file."""

import difflib
import pathlib
from typing import Any

from vprjax.weights.released import FAMILIES
from vprjax.weights.released.variant import Family, Release

# Key of a row -> the head of its column.
COLUMNS = {
    "name": "name",
    "dimension": "dimensions",
    "input_rule": "input",
    "file": "file",
    "licence": "licence",
    "parameters": "parameters",
    "reference": "reference",
}
_SHOWN = 8  # names of unused arrays in a text


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
    """Returns `rows` as text in columns."""
    lines = [
        [f"{row[key]:.1f} M" if key == "parameters" else str(row[key]) for key in COLUMNS]
        for row in found
    ]
    lines.insert(0, [*COLUMNS.values()])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


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
        "normalised": list(config.norms),
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
    unused = facts["unused"]
    more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
    height, width = facts["size"]
    lines = {
        "file": facts["file"],
        "family": facts["family"],
        "released as": " or ".join(facts["released_as"]) or "no file of the catalogue",
        "architecture": facts["architecture"],
        "normalised": ", ".join(facts["normalised"]) or "nowhere",
        "dimensions": facts["dimension"],
        "parameters": f"{facts['parameters']:,}",
        "input": f"{facts['input_rule']}; {height} x {width} pixels (height x width) by default",
        "preprocessing": f"(x - {facts['mean']}) / {facts['std']}, RGB, 0 to 255",
        "licence": facts["licence"],
        "reference": facts["reference"],
        "sha256": facts["sha256"],
        "unused arrays": (", ".join(unused[:_SHOWN]) + more) or "none",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items())


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
