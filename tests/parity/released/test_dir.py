"""AP-GeM: the descriptors of its file equal those of its own code; its PCA needs no scikit-learn."""

import sys
import types

import jax
import numpy as np
import pytest

from tests.helpers import goldens
from tests.helpers.released_state import random_state
from vprjax.models.heads import vectors
from vprjax.weights import load_released
from vprjax.weights.released import dir as family


class Pca:
    """What scikit-learn's PCA has beside its arrays, as far as a pickle tells."""

    def __init__(self, dimensions, kept):
        rng = np.random.default_rng(31)
        self.n_components = None
        self.mean_ = (0.05 * rng.standard_normal(dimensions)).astype(np.float32)
        components = rng.standard_normal((dimensions, kept)).astype(np.float32)
        self.components_ = components.T  # its axes lie the other way round in memory
        self.explained_variance_ = np.sort(rng.uniform(1e-4, 2e-2, kept))[::-1].astype(np.float32)
        self.noise_variance_ = np.float32(0.5)


@pytest.fixture
def scikit_learn(monkeypatch):
    """Modules under which a PCA is pickled; the readers have none of them."""
    names = ["sklearn", "sklearn.decomposition", "sklearn.decomposition.pca"]
    modules = {name: types.ModuleType(name) for name in names}
    pca = type("PCA", (Pca,), {"__module__": names[-1]})
    modules[names[-1]].PCA = pca
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        yield pca


def _whitened(descriptors, pca, power=0.25):
    x = (descriptors - pca.mean_.astype(np.float64)) @ pca.components_.T.astype(np.float64)
    x /= pca.explained_variance_.astype(np.float64) ** power
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_descriptors_equal_the_original_code(shared_goldens, tmp_path):
    golden = goldens.golden(shared_goldens, "dir_resnet101_apgem")
    file = goldens.write_torch(
        golden.state, tmp_path / "a.pt", "state_dict", model_options={"a": 1}
    )
    goldens.check_file(golden, file)


@pytest.mark.parametrize(("power", "kept"), [(0.25, None), (0.25, 16), (0.5, None), (0.5, 16)])
def test_whitening_equals_the_original_code(shared_goldens, power, kept):
    r = np.random.default_rng(31)
    mean = 0.05 * r.standard_normal(64)
    components = np.linalg.qr(r.standard_normal((64, 64)))[0]
    variance = np.sort(r.uniform(1e-4, 2e-2, 64))[::-1]
    x = r.standard_normal((5, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    weight, bias = family.whitening(mean, components[:kept], variance[:kept], power)
    with np.load(shared_goldens / "dir_whitening.npz") as outputs:
        wanted = outputs[f"whiten_p{power}_v{kept}"]
    found = vectors.l2_normalize((x @ weight.T + bias).astype(np.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def _write(state, file, pca, zipped):
    torch = pytest.importorskip("torch")
    content = {
        "model_options": {"arch": "resnet50_rmac"},
        "state_dict": {f"module.{n}": torch.from_numpy(a) for n, a in state.items()},
        "preprocess": {"mean": [0.4, 0.5, 0.6], "std": (0.2, 0.3, 0.25), "input_size": 224},
        "pca": {"Another": pca(8, 3), "Landmarks_clean": pca(8, 5)},
        "recalls": {1: np.float64(0.5)},
    }
    torch.save(content, file, _use_new_zipfile_serialization=zipped)


def test_the_pca_beside_the_state_dict_is_a_layer(tmp_path, scikit_learn, monkeypatch):
    state, pca = random_state(family.FAMILY, family.model("resnet50", 8, 0)), scikit_learn(8, 5)
    for zipped in (True, False):
        _write(state, tmp_path / f"{zipped}.pt", scikit_learn, zipped)
    with (
        monkeypatch.context() as patch
    ):  # within the fixture's own, which would else leave its modules
        for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
            patch.delitem(sys.modules, name)
        module, variables = load_released(str(tmp_path / "True.pt"))
        other = load_released(str(tmp_path / "False.pt"))[1]
        assert "sklearn" not in sys.modules
    jax.tree.map(np.testing.assert_array_equal, variables, other)
    np.testing.assert_allclose(variables["preprocess"]["mean"], [102, 127.5, 153], rtol=1e-6)
    np.testing.assert_allclose(variables["preprocess"]["std"], [51, 76.5, 63.75], rtol=1e-6)
    images = np.random.default_rng(0).integers(0, 255, (2, 33, 40, 3), dtype=np.uint8)
    local, found = jax.jit(
        lambda v, i: (module.apply(v, i, method="features"), module.apply(v, i))
    )(variables, images)
    p = float(state["adpool.p"][0])
    pooled = np.mean(np.maximum(np.asarray(local, np.float64), 1e-6) ** p, axis=(1, 2)) ** (1 / p)
    linear = pooled @ state["fc.weight"].T + state["fc.bias"]
    linear /= np.linalg.norm(linear, axis=1, keepdims=True)
    np.testing.assert_allclose(found, _whitened(linear, pca), atol=1e-5)
