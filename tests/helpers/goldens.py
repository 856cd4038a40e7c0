"""Released models' files, rebuilt from the outputs that their original code gave.

`shared/goldens` holds names and shapes of each file's arrays, the rule of their values, and descriptors in
float64; see its README.
"""

import dataclasses
import importlib.util
import json
import pathlib

import jax
import numpy as np
import torch

from vprjax import models
from vprjax.weights.released import load


@dataclasses.dataclass(frozen=True)
class Golden:
    """One model's rebuilt state dict, its images `(b, h, w, 3)` and what its code gave.

    Attributes:
      facts: the JSON file.
      state: name -> array, in the file's own type.
      images: uint8.
      outputs: the arrays of the npz file, `desc_f64` among them.
    """

    facts: dict
    state: dict[str, np.ndarray]
    images: np.ndarray
    outputs: dict[str, np.ndarray]

    def check(self, descriptors, tolerance: float = 5e-6) -> None:
        """Asserts that descriptors differ from the float64 ones by the tolerance of the largest value."""
        expected = self.outputs["desc_f64"]
        got = np.asarray(descriptors, np.float64)
        assert got.shape[1] == self.facts["output_shapes"]["desc"][1]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            got[:, : expected.shape[1]] / scale, expected / scale, rtol=0, atol=tolerance
        )
        weights = np.random.default_rng(99).standard_normal(got.shape[1])
        sums = (got @ weights, self.outputs["desc_f64_checksum"])
        size = scale * np.sqrt(got.shape[1])
        np.testing.assert_allclose(*sums, rtol=0, atol=20 * tolerance * size)

    def check_map(self, features, tolerance: float = 5e-6) -> None:
        """Asserts that samples of the backbone's map `(b, h, w, c)`, as `check` does.

        A head with a class token takes `(map, token (b, c))`, and samples of both are compared.
        """
        found = features if isinstance(features, tuple) else (features,)
        for part, stats in zip(found, self.facts["backbone_stats_f64"], strict=True):
            part = np.moveaxis(np.asarray(part), -1, 1)
            assert list(part.shape) == stats["shape"]
            samples = part.reshape(-1)[stats["sample_idx"]] / stats["amax"]
            wanted = np.array(stats["sample"]) / stats["amax"]
            np.testing.assert_allclose(samples, wanted, rtol=0, atol=tolerance)


def rule(folder: pathlib.Path):
    """Imports the rules of values and images, `rule.py` of the goldens."""
    spec = importlib.util.spec_from_file_location("goldens_rule", folder / "rule.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def golden(folder: pathlib.Path, name: str) -> Golden:
    """Rebuilds a model's file in memory; the caller applies `variant` of its JSON where there is one."""
    rules = rule(folder)
    facts = json.loads((folder / f"{name}.json").read_text())
    state = rules.fill(facts["state_dict"], facts["kept_defaults"])
    with np.load(folder / f"{name}.npz") as arrays:
        outputs = dict(arrays)
    return Golden(facts, state, rules.make_images(*facts["image_size"]), outputs)


def calm(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the variant of a ResNet whose blocks' last BatchNorms are small."""
    return {n: a * np.float32(0.2 if n.endswith("bn3.weight") else 1) for n, a in state.items()}


def run(module, variables, images):
    """Returns a module's descriptors and its backbone's map, of one program."""

    def apply(variables, images):
        return module.apply(
            variables,
            images,
            mutable=["intermediates"],
            capture_intermediates=lambda inner, _: inner.name == "backbone",
        )

    descriptors, state = jax.jit(apply)(variables, images)
    return descriptors, state["intermediates"]["backbone"]["__call__"][0]


def write_torch(
    state: dict[str, np.ndarray], file: pathlib.Path, wrapper: str = "", **beside
) -> pathlib.Path:
    """Writes a state dict as PyTorch does; below the key `wrapper`, where one is given, and `beside` it."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    torch.save({wrapper: tensors, "epoch": 3, **beside} if wrapper else tensors, file)
    return file


def check_file(
    golden: Golden, file: pathlib.Path, tolerance: float = 5e-6, alone: bool = False
) -> load.Released:
    """Asserts that a model's file gives the golden's local features and descriptors, `alone` too."""
    released = load.read(str(file))
    module = models.build(released.config)
    descriptors, features = run(module, released.variables, golden.images)
    golden.check(descriptors, tolerance)
    golden.check_map(features, tolerance)
    if alone:
        check_alone(module, released.variables, golden.images, descriptors)
    return released


def check_alone(module, variables, images, descriptors) -> None:
    """Asserts that a batch of one image gives the first of the descriptors."""
    found = jax.jit(module.apply)(variables, images[:1])
    limit = 2e-6 * np.abs(descriptors).max()
    np.testing.assert_allclose(found, descriptors[:1], rtol=0, atol=limit)
