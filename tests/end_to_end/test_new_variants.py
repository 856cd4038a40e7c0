"""A made-up head, loss and backbone, one file each and one line in its package, train through `main`."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from tests.helpers import commands

HEAD = '''
"""Made-up head: the mean of each channel, scaled by a learnable factor."""

import jax.numpy as jnp
from flax import linen as nn

from vprjax.models.heads.variant import Head
from vprjax.variants import Key, Number


class Scaled(nn.Module):
    start: float

    @nn.compact
    def __call__(self, x):
        factor = self.param("factor", nn.initializers.constant(self.start), (x.shape[-1],))
        return x.mean(axis=(1, 2)) * factor


HEAD = Head(
    title="Scaled mean",
    make=lambda section: Scaled(section.start),
    keys={"start": Key(1.5, Number(low=1), "where the factor starts")},
    trains=True,
    rates=lambda section: {"factor": 2.0},
    lowest={"factor": 0.5},
    logged={"scaled_factor": "factor"},
)
'''
LOSS = '''
"""Made-up loss: the squared distance to the positive beyond a slack."""

import jax
import jax.numpy as jnp

from vprjax.losses.variant import Loss, OfTuples
from vprjax.variants import Key, Number


def _make(section):
    def value(query, positive, negatives, valid, step):
        return jax.nn.relu(jnp.sum((query - positive) ** 2, axis=-1) - section.slack)

    return OfTuples(value=value, reach=lambda to_positive, step: to_positive)


LOSS = Loss(title="Slack", make=_make, keys={"slack": Key(0.0, Number(), "distance left alone")})
'''
BACKBONE = '''
"""Made-up backbone: two convolutions of stride 4."""

import jax
from flax import linen as nn

from vprjax.models.backbones.layers import Conv, Layers
from vprjax.models.backbones.variant import Backbone


class Tiny(nn.Module):
    stage: str = "body"
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(self.layers.conv("stem", Conv(4, 3, 4, bias=True))(x))
        if self.stage == "stem":
            return x
        return nn.relu(self.layers.conv("body", Conv(8, 3, 4, bias=True))(x))


BACKBONE = Backbone(
    title="Tiny net",
    module=Tiny,
    stages={"stem": ("stem",), "body": ("body",)},
    batch_norm=False,
    sources={},
)
'''
NEW = {
    "vprjax/models/heads": ("scaled", "HEAD", HEAD),
    "vprjax/losses": ("slack", "LOSS", LOSS),
    "vprjax/models/backbones": ("tiny", "BACKBONE", BACKBONE),
}


def add(package: pathlib.Path, name: str, kind: str, text: str) -> None:
    """Writes the variant's file and its line in the package's dict: all that a new variant needs."""
    (package / f"{name}.py").write_text(text.lstrip())
    init = package / "__init__.py"
    lines = init.read_text().splitlines()
    (row,) = (
        i for i, line in enumerate(lines) if line.startswith(f"{kind}") and line.endswith("= {")
    )
    module = str(package).partition("vprjax/")[2].replace("/", ".")
    lines.insert(row + 1, f'    "{name}": {name}.{kind},')
    lines.insert(row, f"from vprjax.{module} import {name}")
    init.write_text("\n".join(lines) + "\n")


def test_variants_from_one_file_each_train_two_steps(tmp_path, tiny):
    for folder in ("vprjax", "configs"):
        shutil.copytree(
            commands.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for package, variant in NEW.items():
        add(tmp_path / package, *variant)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vprjax.main"),
            *(f"--config={tmp_path}/configs/synthetic.py:tiny,scaled,slack", "--workdir=run"),
            *(f"--config.dataset.data_dir={tiny}", "--config.dataset.name=synthetic/tiny"),
            *("--config.model.scaled.start=2.0", "--config.loss.slack.slack=0.01"),
            *("--config.tuples.batch=2", "--config.tuples.positive_radius=10.0"),
            *("--config.tuples.negative_radius=25.0", "--config.tuples.other_visit_seconds=0.0"),
            *("--config.train.steps=2", "--config.train.log_every=1", "--config.eval.batch=8"),
        ],
        cwd=tmp_path,
        env={**os.environ, **commands.ENVIRONMENT, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(0.5 < row["scaled_factor"] < 4 and row["loss"] >= 0 for row in rows)
    results = json.loads((run / "results.json").read_text())
    config = results["provenance"]["config"]
    assert (config["model"]["scaled"]["start"], config["loss"]["slack"]["slack"]) == (2.0, 0.01)
    page = (run / "report.html").read_text()
    assert "Tiny net + Scaled mean, Slack" in page
    touched = {
        str(path.relative_to(tmp_path))
        for folder in ("vprjax", "configs")
        for path in (tmp_path / folder).rglob("*.py")
        if not (commands.ROOT / path.relative_to(tmp_path)).exists()
        or path.read_bytes() != (commands.ROOT / path.relative_to(tmp_path)).read_bytes()
    }
    assert touched == {
        f"{package}/{name}.py" for package, (own, _, _) in NEW.items() for name in (own, "__init__")
    }
