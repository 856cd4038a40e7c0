"""CosPlace: the descriptors of its files equal those of its own code."""

import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from vprjax.weights import load_released

CALM = {"p2.7": lambda s: {**s, "aggregation.1.p": np.float32([2.7])}}
CALM["calm"] = lambda s: {n: a * (0.2 if n.endswith("bn3.weight") else 1) for n, a in s.items()}


@pytest.mark.parametrize(
    "name",
    [
        "cosplace_resnet18_512_p2.7",
        "cosplace_resnet50_2048_calm",
        "cosplace_vgg16_512_p2.7",
    ],
)
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, name):
    golden = goldens.golden(shared_goldens, name)
    state = CALM[name.rpartition("_")[2]](golden.state)
    file = goldens.write_torch(state, tmp_path / "model.pth")
    module, variables = load_released(str(file))
    golden.check(module.apply(variables, golden.images))
    model = vprjax.load(file, size=tuple(golden.facts["image_size"]))
    golden.check(model.describe(list(golden.images)))
