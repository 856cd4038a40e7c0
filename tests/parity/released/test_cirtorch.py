"""Radenovic et al.'s networks: the descriptors of their files equal those of their own code."""

import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from tests.helpers.released_state import random_state
from vprjax.errors import WeightsError
from vprjax.weights import load_released
from vprjax.weights.released import cirtorch

META = {"architecture": "any", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def _calm(state):
    return {n: a * (0.2 if n.endswith("bn3.weight") else 1) for n, a in state.items()}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("cir_vgg16_gem", 5e-6),
        ("cir_resnet18_gem_regional_whiten", 5e-6),
        ("cir_resnet101_gem_whiten", 1e-4),
        ("cir_resnet101_gem_whiten_calm", 5e-6),
        ("cir_resnet50_gem_whiten", 5e-6),
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name, tolerance):
    golden = goldens.golden(shared_goldens, name)
    state = _calm(golden.state) if name.endswith("calm") else golden.state
    file = goldens.write_torch(state, tmp_path / "model.pth", "state_dict", meta=META)
    goldens.check_file(golden, file, tolerance, alone="resnet18" in name)
    if "resnet18" in name:
        model = vprjax.load(file, size=tuple(golden.facts["image_size"]))
        golden.check(model.describe(list(golden.images)))


def test_a_whitening_learnt_afterwards_is_a_layer(tmp_path):
    """Older networks keep `P (x - m)` beside the state dict, as NumPy arrays of both numbers of scales."""
    state = random_state(cirtorch.FAMILY, cirtorch.model("resnet18", 0))
    rng = np.random.default_rng(0)
    m, p = rng.standard_normal((512, 1)), rng.standard_normal((6, 512))
    scales = {"ss": {"m": m, "P": p}, "ms": {"m": 2 * m, "P": 2 * p}}
    meta = {"Lw": {"retrieval-SfM-120k": scales}, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
    file = goldens.write_torch(state, tmp_path / "a.pth", "state_dict", meta=meta)
    module, variables = load_released(str(file))
    assert module.pooling.per_channel is False
    np.testing.assert_allclose(variables["preprocess"]["std"], [51, 76.5, 63.75], rtol=1e-6)
    own = variables["params"]["projection"]
    x = rng.standard_normal((3, 512))
    found, wanted = x @ own["kernel"] + own["bias"], (x - m[:, 0]) @ p.T
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_file_that_is_cut_or_of_another_pooling_is_named(tmp_path):
    state = random_state(cirtorch.FAMILY, cirtorch.model("resnet18", 6))
    cut = {n: a for n, a in state.items() if not n.startswith("features.7.1")}
    words = r"no sound cnnimageretrieval file: 10 arrays are missing \(features\.7\.1\."
    with pytest.raises(WeightsError, match=words):
        load_released(str(goldens.write_torch(cut, tmp_path / "a.pth", "state_dict", meta=META)))
    other = state | {"lwhiten.weight": np.ones((512, 512), np.float32)}
    with pytest.raises(
        WeightsError, match=r"1 are unknown; it has lwhiten\.weight, \S+, \.\.\., exp"
    ):
        load_released(str(goldens.write_torch(other, tmp_path / "a.pth", "state_dict", meta=META)))
