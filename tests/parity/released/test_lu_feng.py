"""ImAge and SuperVLAD in their released containers against PyTorch, written from their papers and names."""

import jax
import numpy as np
import pytest

from tests.helpers import goldens
from vprjax import models
from vprjax.errors import WeightsError
from vprjax.models.backbones import BACKBONES, dinov2
from vprjax.weights.released import FAMILIES, image, load
from vprjax.weights.released import salad as salad_files

torch = pytest.importorskip("torch")
from tests.parity import torch_dinov2  # noqa: E402

PLAIN = dinov2.Size(24, 2, 3)
TOKENS = dinov2.Size(24, 2, 3, registers=4, tokens=3, tokens_from=2)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Transformers of two blocks among the backbones that a file may hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "dinov2_small", dinov2.declare("DINOv2 small", PLAIN))
        patch.setitem(BACKBONES, "dinov2_small_tokens", dinov2.declare("small tokens", TOKENS))
        patch.setitem(salad_files.SIZES, (24, 2), "dinov2_small")
        patch.setattr(image, "MODEL", {**image.MODEL, "backbone": "dinov2_small_tokens"})
        yield


class ImAge(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch_dinov2.DINOv2(24, 2, 3, 4, tokens=3, tokens_from=2)

    def forward(self, x):
        return torch.nn.functional.normalize(self.backbone(x)[1], dim=1)


class SuperVLAD(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch_dinov2.DINOv2(24, 2, 3)
        self.aggregation = torch_dinov2.Holder(conv=torch.nn.Conv2d(24, 5, 1, bias=False))

    def forward(self, x):
        local = torch.nn.functional.normalize(self.backbone(x)[0], dim=1)
        shares = self.aggregation.conv(local).softmax(dim=1)[:, :4]
        sums = torch.einsum("bkhw,bdhw->bkd", shares, local)
        sums = torch.nn.functional.normalize(sums, dim=2).flatten(1)
        return torch.nn.functional.normalize(sums, dim=1)


def state_of(network):
    """The released names: ImAge's tokens stand beside the backbone, and a mask token is unused."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    inner = "backbone." + dinov2.AGGREGATION_TOKENS
    if inner in state:
        state[dinov2.AGGREGATION_TOKENS] = state.pop(inner)
    state["backbone.mask_token"] = np.ones((1, 24), np.float32)
    return {f"module.{name}": array for name, array in state.items()}


def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 56, 70, 3), np.uint8)


def file_of(folder, name, state):
    return goldens.write_torch(state, folder / name, "model_state_dict", best_r5=0.5)


@pytest.mark.parametrize(
    ("family", "file", "network"),
    [("image", "ImAge_Merged.pth", ImAge), ("supervlad", "SuperVLAD.pth", SuperVLAD)],
)
def test_a_file_gives_its_code_s_descriptors(tmp_path, family, file, network):
    network = torch_dinov2.randomise(network(), seed=1)
    if family == "supervlad":
        with torch.no_grad():
            network.aggregation.conv.weight *= 5  # uneven shares
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.tensor(((pictures() / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32)
    with torch.no_grad():
        expected = network(x).numpy()
    found = load.read(str(file_of(tmp_path, file, state_of(network))))
    assert found.family == family and found.unused == ("backbone.mask_token",)
    module = models.build(found.config)
    got = np.asarray(jax.jit(module.apply)(found.variables, pictures()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-6 * np.abs(expected).max())


def test_what_is_cut_or_another_model_is_refused(tmp_path):
    state = state_of(torch_dinov2.randomise(ImAge()))
    cut = {n: a for n, a in state.items() if "blocks.1.mlp" not in n}
    words = (
        r"no sound ImAge file: 4 arrays are missing \(backbone\.blocks\.1\.mlp\.\S+, backbone\.b"
    )
    with pytest.raises(WeightsError, match=words):
        load.read(str(file_of(tmp_path, "ImAge_GSV.pth", cut)))
    state = state_of(torch_dinov2.randomise(SuperVLAD()))
    crossed = {**state, "module.encoder.layers.0.linear1.weight": np.ones((3, 24), np.float32)}
    with pytest.raises(
        WeightsError, match="it has a cross-image encoder, whose descriptors depend"
    ):
        load.read(str(file_of(tmp_path, "SuperVLAD.pth", crossed)))


def test_one_cluster_has_two_ghosts():
    arrays = {
        "backbone.cls_token": np.ones((1, 1, 24)),
        "aggregation.conv.weight": np.ones((3, 24, 1, 1)),
    }
    found = FAMILIES["supervlad"].config(arrays)
    assert (found["supervlad.clusters"], found["supervlad.ghosts"]) == (1, 2)
