"""MixVPR and Conv-AP: the descriptors of their files equal those of their own code."""

import pytest

import vprjax
from tests.helpers import goldens
from vprjax.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "wrapper", "tolerance"),
    [
        ("mixvpr_resnet50_128", "state_dict", 1e-4),
        ("mixvpr_resnet50_4096", "", 1e-4),
        ("mixvpr_resnet50_4096_calm", "", 5e-6),
        ("convap_resnet50_2048", "", 1e-4),
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name, wrapper, tolerance):
    golden = goldens.golden(shared_goldens, name)
    state = goldens.calm(golden.state) if name.endswith("calm") else golden.state
    file = goldens.write_torch(state, tmp_path / "model.ckpt", wrapper)
    released = goldens.check_file(golden, file, tolerance, alone=not name.endswith("4096"))
    assert released.family == name.partition("_")[0]
    assert all(name.endswith("num_batches_tracked") for name in released.unused)


def test_mixvpr_loads_at_its_size_alone(shared_goldens, tmp_path):
    state = goldens.golden(shared_goldens, "mixvpr_resnet50_128").state
    file = goldens.write_torch(state, tmp_path / "model.ckpt")
    model = vprjax.load(file)
    assert (model.size, model.dimension) == ((320, 320), 128)
    with pytest.raises(
        ConfigError, match=r"14 x 14 = 196 positions, but the weights mix 400; feed"
    ):
        vprjax.load(file, size=(224, 224))
