"""DVGL: the descriptors of its files equal those of its own code."""

import numpy as np
import pytest

import vprjax
from tests.helpers import goldens
from vprjax import models
from vprjax.weights.released import load


def read(golden, folder):
    """The golden's network as DVGL's training saves it."""
    state = {f"module.{name}": array for name, array in golden.state.items()}
    file = goldens.write_torch(state, folder / "best_model.pth", "model_state_dict")
    return file, load.read(str(file))


@pytest.mark.parametrize("head", ["gem", "netvlad", "crn"])
def test_descriptors_equal_the_original_code(shared_goldens, tmp_path, head):
    golden = goldens.golden(shared_goldens, f"dvgl_resnet18conv4_{head}")
    file, released = read(golden, tmp_path)
    module = models.build(released.config)
    descriptors, features = goldens.run(module, released.variables, golden.images)
    golden.check(descriptors)
    golden.check_map(features)
    goldens.check_alone(module, released.variables, golden.images, descriptors)
    if head == "gem":
        lengths = golden.outputs["desc_f64_norm"]
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), lengths, rtol=1e-5)
        model = vprjax.load(file, size=tuple(golden.facts["image_size"]))
        golden.check(model.describe(list(golden.images)))


def test_rmac_equals_the_original_code(shared_goldens, tmp_path):
    """Its files have the backbone alone, so that the config must name the head."""
    golden = goldens.golden(shared_goldens, "dvgl_resnet18conv4_rmac")
    golden.state["aggregation.1.p"] = np.float32([3])
    _, released = read(golden, tmp_path)
    released.config.update({"pooling": "rmac", "norms": ("pooled",)})
    del released.variables["params"]["pooling"]
    module = models.build(released.config)
    descriptors, features = goldens.run(module, released.variables, golden.images)
    golden.check(descriptors)
    golden.check_map(features)


@pytest.mark.parametrize("change", [{}, {"stage": "conv5"}, {"netvlad": {"order": "channels"}}])
def test_the_last_relu_and_the_order_of_clusters_count(shared_goldens, tmp_path, change):
    golden = goldens.golden(shared_goldens, "dvgl_vgg16_netvlad")
    _, released = read(golden, tmp_path)
    released.config.update(change)
    module = models.build(released.config)
    descriptors, features = goldens.run(module, released.variables, golden.images)
    if not change:
        golden.check(descriptors)
        golden.check_map(features)
        return
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        golden.check(descriptors, tolerance=1e-3)
