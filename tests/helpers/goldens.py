"""Released models' files, rebuilt from the outputs that their original code gave.

`shared/goldens` holds names and shapes of each file's arrays, the rule of their values, and descriptors in
float64; see its README.
"""

import dataclasses
import importlib.util
import json
import pathlib

import numpy as np
import torch


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


def golden(folder: pathlib.Path, name: str) -> Golden:
    """Rebuilds a model's file in memory; the caller applies `variant` of its JSON where there is one."""
    spec = importlib.util.spec_from_file_location("goldens_rule", folder / "rule.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    facts = json.loads((folder / f"{name}.json").read_text())
    state = rule.fill(facts["state_dict"], facts["kept_defaults"])
    with np.load(folder / f"{name}.npz") as arrays:
        outputs = dict(arrays)
    return Golden(facts, state, rule.make_images(*facts["image_size"]), outputs)


def write_torch(
    state: dict[str, np.ndarray], file: pathlib.Path, wrapper: str = ""
) -> pathlib.Path:
    """Writes a state dict as PyTorch does, below the key `wrapper` where one is given."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    torch.save({wrapper: tensors, "epoch": 3} if wrapper else tensors, file)
    return file
