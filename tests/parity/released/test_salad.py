"""SALAD and MegaLoc: the descriptors of their files equal those of their own code."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import vprjax
from tests.helpers import goldens
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES, dinov2
from vprjax.models.heads import salad
from vprjax.weights import load_released
from vprjax.weights.released import salad as salad_files

torch = pytest.importorskip("torch")
from tests.parity import torch_dinov2  # noqa: E402

NAMES = ["salad_vits14_322"]
if os.environ.get("VPRJAX_GOLDENS") == "all":  # a file of MegaLoc takes 0.9 GB
    NAMES += [
        "salad_vitb14_322",
        "salad_vitb14_280x392",
        "megaloc_322",
        "megaloc_300x410",
        "megaloc_v1.0_322",
    ]


def write(state, folder, name):
    """Writes a state dict in its released container."""
    if not name.startswith("megaloc"):
        return goldens.write_torch(state, folder / "dino_salad.ckpt")
    if "v1.0" in name:
        return goldens.write_torch(state, folder / "megaloc.torch")
    arrays = {n: np.ascontiguousarray(a) for n, a in state.items()}
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("name", NAMES)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name):
    golden = goldens.golden(shared_goldens, name)
    file = write(golden.state, tmp_path, name)
    golden.state.clear()
    goldens.check_file(golden, file, alone=True)
    file.unlink()


@pytest.fixture(scope="module", autouse=True)
def small():
    """A transformer of two blocks among the backbones that a file may hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            BACKBONES, "dinov2_small", dinov2.declare("DINOv2 small", dinov2.Size(24, 2, 3))
        )
        patch.setitem(salad_files.SIZES, (24, 2), "dinov2_small")
        yield


class Model(torch.nn.Module):
    """SALAD on that transformer, and MegaLoc's layers around it with `projection`."""

    def __init__(self, projection=0):
        super().__init__()
        backbone, head = torch_dinov2.DINOv2(24, 2, 3), torch_dinov2.SALAD(24, 9, 4, 5, 6)
        self.projection = projection
        if projection:
            linear = torch.nn.Linear(5 + 9 * 4, projection)
            self.backbone, self.aggregator = backbone, torch_dinov2.Holder(agg=head, linear=linear)
        else:
            self.backbone, self.aggregator = torch_dinov2.Holder(model=backbone), head

    def forward(self, x):
        if not self.projection:
            found = self.aggregator(*self.backbone.model(x))
            return torch.nn.functional.normalize(found, dim=1)
        found = torch.nn.functional.normalize(self.aggregator.agg(*self.backbone(x)), dim=1)
        return torch.nn.functional.normalize(self.aggregator.linear(found), dim=1)


def images(h, w):
    return np.random.default_rng(0).integers(0, 256, (2, h, w, 3), np.uint8)


def described_by(network, pictures):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    x = (pictures / 255 - mean) / std
    with torch.no_grad():
        return network(torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()


@pytest.fixture(scope="module")
def model():
    """Random SALAD, its file's arrays, and the descriptors of two images."""
    network = torch_dinov2.randomise(Model())
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    state["backbone.model.mask_token"] = np.ones((1, 24), np.float32)
    return state, images(56, 70), described_by(network, images(56, 70))


def test_a_file_of_salad_is_read(model, tmp_path):
    state, pictures, expected = model
    file = write(state, tmp_path, "salad")
    loaded = vprjax.load(file, size=(56, 70))
    assert loaded.title == "SALAD, DINOv2 small + SALAD" and loaded.dimension == 41
    np.testing.assert_allclose(loaded.describe(list(pictures)), expected, rtol=0, atol=1e-5)


# Changes of the model that would still run; each makes another descriptor.
def _token_last(x):
    return jnp.concatenate([x[:, 5:], x[:, :5]], axis=1)


def _clusters_first(x):
    parts = x[:, 5:].reshape(-1, 4, 9).swapaxes(1, 2).reshape(-1, 36)
    return jnp.concatenate([x[:, :5], parts], axis=1)


def test_the_order_of_the_parts_and_the_final_norm_matter(model, tmp_path):
    """The final LayerNorm left out, the class token last and clusters flattened the other way fail."""
    state, pictures, expected = model
    module, variables = load_released(str(write(state, tmp_path, "salad")))
    early = module.clone(backbone=module.backbone.clone(stage="block2"))
    right, without = jax.jit(lambda v: (module.apply(v, pictures), early.apply(v, pictures)))(
        variables
    )
    assert np.abs(right - expected).max() <= 1e-5
    for wrong in (without, _token_last(right), _clusters_first(right)):
        assert np.abs(wrong - expected).max() > 0.05


@pytest.mark.parametrize("first", [False, True])
def test_a_file_of_megaloc_is_read(tmp_path, first):
    """New names and those of version 1.0; 45 x 58 becomes 42 x 56 inside the model."""
    network = torch_dinov2.randomise(Model(projection=13))
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    if first:
        state = {n.replace("backbone.", "backbone.model."): a for n, a in state.items()}
        state["backbone.model.mask_token"] = np.ones((1, 24), np.float32)
    file = write(state, tmp_path, "megaloc_v1.0" if first else "megaloc")
    module, variables = load_released(str(file))
    expected = described_by(network, images(45, 58))
    got = jax.jit(module.apply)(variables, images(45, 58))
    assert np.abs(got - expected).max() <= 1e-5


def test_cut_and_foreign_files_are_refused_in_one_sentence(model, tmp_path):
    state, _, _ = model
    cut = {n: a for n, a in state.items() if "blocks.0.attn" not in n}
    expected = (
        r"no sound SALAD file: 4 arrays are missing \(backbone\.model\.blocks\.0\.attn\.\S+, \S+"
    )
    with pytest.raises(WeightsError, match=expected):
        load_released(str(write(cut, tmp_path, "salad")))
    bad = {**state, "aggregator.score.3.weight": np.ones((9, 7, 1, 1), np.float32)}
    with pytest.raises(WeightsError, match=r"\S+ has shape \(6,\), expected \(7,\)"):
        load_released(str(write(bad, tmp_path, "salad")))
    with pytest.raises(
        WeightsError, match=r"1 are unknown; it has aggregator\.more, \S+, \.\.\., exp"
    ):
        load_released(str(write({**state, "aggregator.more": np.ones(1)}, tmp_path, "salad")))


def test_clusters_are_counted_in_the_file(model, tmp_path):
    module, _ = load_released(str(write(model[0], tmp_path, "salad")))
    assert module.pooling == salad.SALAD(clusters=9, cluster_dim=4, token_dim=5, hidden=6)
