"""Released files without their values: names, titles and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from vprjax import models
from vprjax.errors import WeightsError
from vprjax.weights.names import torch_shape
from vprjax.weights.released import FAMILIES, load

# One release a family and network: the family, and the release's name.
RELEASES = [
    ("cosplace", "cosplace_resnet18_32"),
    ("cosplace", "cosplace_vgg16_64"),
    ("mixvpr", "mixvpr_resnet50_128"),
    ("convap", "convap_resnet50_512"),
    ("boq", "boq_resnet50_16384"),
    ("boq_dinov2", "boq_dinov2_12288"),
    ("image", "image_merged"),
    ("supervlad", "supervlad"),
]


def arrays_of(family, release):
    """Name -> shape of a released file, and the number of its parameters."""
    family = FAMILIES[family]
    module = models.build(load.section(family.releases[release].model))
    image = jax.ShapeDtypeStruct((1, family.form.height, family.form.width, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    variables.pop("preprocess")
    shapes = traverse_util.flatten_dict(variables)
    named = {family.name(path): torch_shape(path, a.shape) for path, a in shapes.items()}
    assert len(named) == len(shapes)
    return named, sum(a.size for a in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(("family", "name"), RELEASES)
def test_a_release_is_recognised_and_counted(family, name):
    release = FAMILIES[family].releases[name]
    named, parameters = arrays_of(family, name)
    able = [n for n, f in FAMILIES.items() if f.recognise(frozenset(named))]
    assert able == (["cosplace", "eigenplaces"] if family == "cosplace" else [family])
    assert round(parameters / 1e6, 1) == release.parameters
    zeros = {n: np.broadcast_to(np.float32(0), shape) for n, shape in named.items()}
    own = FAMILIES[family].config(zeros)
    assert {**own, **release.model} == own


def refused(tmp_path, state, file="ResNet18_32_cosplace.npz"):
    np.savez(tmp_path / file, **state)
    with pytest.raises(WeightsError) as error:
        load.load_released(str(tmp_path / file))
    message = str(error.value)
    assert message.startswith(str(tmp_path / file)) and "\n" not in message
    return message


def test_a_file_s_name_tells_families_of_one_layout_apart(tmp_path):
    named, _ = arrays_of("cosplace", "cosplace_resnet18_32")
    state = {n: np.ones(shape, np.float32) for n, shape in named.items()}
    for file, family, title in [
        ("ResNet18_32_cosplace.npz", "cosplace", "CosPlace"),
        ("ResNet18_32_EigenPlaces.npz", "eigenplaces", "EigenPlaces"),
        ("best.npz", "cosplace", "CosPlace or EigenPlaces"),
    ]:
        np.savez(tmp_path / file, **state)
        found = load.read(str(tmp_path / file))
        assert (found.family, found.title) == (family, title)
    bias = state.pop("aggregation.3.bias")
    assert "aggregation.3.bias is missing; it has aggregation.1.p, " in refused(tmp_path, state)
    scalar = {**state, "aggregation.3.bias": np.float32(0)}
    assert "no network has arrays of these shapes" in refused(tmp_path, scalar)
    state["aggregation.3.bias"] = bias
    del state["backbone.7.1.bn2.bias"], state["backbone.0.weight"]
    assert "is no released model that is known" in refused(tmp_path, state)


def test_a_file_that_lacks_or_adds_arrays_names_them(tmp_path):
    named, _ = arrays_of("cosplace", "cosplace_resnet18_32")
    state = {n: np.zeros(shape, np.float32) for n, shape in named.items()}
    del state["backbone.7.1.bn2.bias"]
    state["backbone.8.weight"] = np.zeros(1, np.float32)
    message = refused(tmp_path, state)
    assert "1 arrays are missing (backbone.7.1.bn2.bias) and 1 are unknown" in message
    assert "it has backbone.8.weight" in message
