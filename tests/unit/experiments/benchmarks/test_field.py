"""The rival's models hold the arrays of the released files, by name and shape."""

import numpy as np
import pytest
from benchmarks import field

from vprjax.weights.released import load

torch = pytest.importorskip("torch")
from benchmarks import torch_field  # noqa: E402


@pytest.mark.parametrize(
    ("case", "family"),
    [
        ("dinov2_vitb14-salad-322x322", "salad"),
        ("resnet50-mixvpr-320x320", "mixvpr"),
        ("resnet101-gem-480x640", "dvgl"),
    ],
)
def test_the_rival_is_the_released_model(case, family, tmp_path):
    make, prefix, (height, width) = field.CASES[case]
    with torch.device("meta"):  # shapes alone
        network = getattr(torch_field, make)()
    state = {
        field.released_name(name, prefix): np.broadcast_to(np.float32(0.5), tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }
    found = load.find(tmp_path / "model.pth", state)
    assert found.family == family and (height, width) != (224, 224)
    assert case.startswith(f"{found.config.backbone}-{found.config.pooling}-")
    assert all(name.endswith("num_batches_tracked") for name in found.unused)


def test_the_small_parts_compute_what_their_papers_say():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 4)
    mixed = torch_field.MixVPR(6, 12, 2)(x)
    assert mixed.shape == (2, 12)
    assert torch.allclose(mixed.norm(dim=1), torch.ones(2))
    plain = torch_field.PlainGeM(2.0)(x)
    assert torch.allclose(plain, x.clamp(min=1e-6).pow(2).mean(dim=(2, 3)).sqrt())
    assert torch.allclose(torch_field.Local()(x).norm(dim=1), torch.ones(2, 3, 4))
