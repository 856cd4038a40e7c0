"""A model off the shelf on a small dataset, by the commands a user types, in this process."""

import json
import sys

import numpy as np
import safetensors.numpy

from tests.helpers.raw_places import command
from tfds_builders.__main__ import main as tfds_builders
from vprjax import main
from vprjax.weights import names


def write_weights(file):
    """A ResNet18 by torchvision's names, with random values; returns the path."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in names.names_and_shapes("resnet18", "torch").values():
        deviation = np.sqrt(2 / max(1, np.prod(shape[1:])))
        positive = rng.uniform(0.5, 1.5, shape) if len(shape) == 1 else None
        values = rng.normal(0, deviation, shape) if positive is None else positive
        found[name] = values.astype(np.float32)
    safetensors.numpy.save_file(found, file)
    return file


def build(tmp_path, layout, **keys) -> dict:
    """`build` and `show` of `tmp_path / "raw"` as places_csv/mine; its metadata."""
    values = {"name": "mine", "layout": layout, "height": 32, "width": 48, **keys}
    option = f"--config={json.dumps(values)}"
    assert command("build", "places_csv", tmp_path / "raw", tmp_path / "data", option) == 0
    shown = ["show", "places_csv", f"--data_dir={tmp_path}/data", f"--out={tmp_path}/shown"]
    assert tfds_builders(shown) == 0
    folder = tmp_path / "data/places_csv/mine/1.0.0"
    return json.loads((folder / "metadata.json").read_text())


def evaluate(tmp_path, monkeypatch, weights, reference, query, unit="m", tolerances=(25.0, 10.0)):
    """`vprjax.main --mode=evaluate` on what `build` made; results.json, whose figures are sane."""
    flags = [
        "main", "--mode=evaluate", f"--workdir={tmp_path / 'run'}",
        "--config=configs/places_csv.py:resnet18,gem,triplet", "--config.model.stage=conv2",
        f"--config.model.weights={weights}", "--config.dataset.name=places_csv/mine",
        f"--config.dataset.data_dir={tmp_path / 'data'}", "--config.dataset.train_splits=()",
        f"--config.dataset.reference_split={reference}",
        f"--config.dataset.query_splits={(query,)!r}", f"--config.dataset.position_unit={unit}",
        f"--config.dataset.tolerances={tolerances!r}", "--config.eval.recalls=(1,)",
        "--config.eval.batch=8",
    ]  # fmt: skip
    run_main(monkeypatch, flags)
    results = json.loads((tmp_path / "run/results.json").read_text())
    (figures,) = results["results"]["off_the_shelf"].values()
    found = list(figures["fcm"].values())
    assert found == sorted(found, reverse=True) and 0 <= found[-1] <= found[0] <= 100
    assert results["provenance"]["dataset"]["pose_source"]
    return results, figures


def run_main(monkeypatch, flags: list[str]) -> None:
    """`vprjax.main` with flags that an earlier call in this process may have given otherwise."""
    for name in [name for name in main.FLAGS if name.startswith("config.")]:
        delattr(main.FLAGS, name)
    main.FLAGS.unparse_flags()
    monkeypatch.setattr(sys, "argv", flags)  # where ml_collections looks for overrides
    monkeypatch.setattr(main.atexit, "register", lambda *_: None)
    main.main(main.parse_flags(flags))
