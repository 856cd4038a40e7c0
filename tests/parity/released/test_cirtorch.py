"""Radenovic et al.'s networks: the descriptors of their files equal those of their own code."""

import jax
import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from vprjax.weights import load_released

META = {"architecture": "any", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def _calm(state):
    return {n: a * (0.2 if n.endswith("bn3.weight") else 1) for n, a in state.items()}


@pytest.mark.parametrize(
    "name",
    [
        "cir_vgg16_gem",
        "cir_resnet18_gem_regional_whiten",
        "cir_resnet101_gem_whiten_calm",
        "cir_resnet50_gem_whiten",
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name):
    golden = goldens.golden(shared_goldens, name)
    state = _calm(golden.state) if name.endswith("calm") else golden.state
    file = goldens.write_torch(state, tmp_path / "model.pth", "state_dict", meta=META)
    module, variables = load_released(str(file))
    apply = jax.jit(module.apply)
    found = np.asarray(apply(variables, golden.images))
    golden.check(found)
    if "resnet18" in name:
        np.testing.assert_allclose(apply(variables, golden.images[1:])[0], found[1], atol=1e-6)
        model = vprjax.load(file, size=tuple(golden.facts["image_size"]))
        golden.check(model.describe(list(golden.images)))
