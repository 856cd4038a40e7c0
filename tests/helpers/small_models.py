"""Models with random values for tests of what uses them: every backbone, head, projection and PCA."""

import jax.numpy as jnp
import numpy as np

from configs import base
from tests.helpers.random_variables import random_variables
from vprjax import models
from vprjax.data.pictures import Form
from vprjax.descriptors.whitening import Projection
from vprjax.localize import load
from vprjax.localize.network import Network

# An early stage of every backbone: it has each kind of layer, and compiles in little time.
EARLY = {
    "vgg16": "conv2",
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "conv2"),
    **dict.fromkeys(("resnet50_v1", "resnet50_slim"), "conv2"),
    "mobilenetv2": "block_2_expand",
    **dict.fromkeys(("alexnet", "alexnet_caffe", "caffenet", "hybridnet"), "conv2"),
    **dict.fromkeys(("overfeat_fast", "overfeat_accurate"), "conv1"),
    **{f"dinov2_vit{size}14{more}": "block1" for size in "sblg" for more in ("", "_reg")},
    "dinov2_vitb14_tokens": "block1",
}


def small(backbone, pooling, *, stage=None, projection=0, pca=0, size=(32, 40), **facts):
    """A model of random values, cut early unless `stage` is given ("" is the last)."""
    config = base.get_config().model
    config.update(backbone=backbone, pooling=pooling, projection=projection)
    config.stage = EARLY[backbone] if stage is None else stage
    config.netvlad.clusters = config.salad.clusters = 3
    image = jnp.zeros((1, *size, 3), jnp.uint8)
    variables = random_variables(models.build(config), image)
    network = Network(config, {kind: _on_host(tree) for kind, tree in variables.items()})
    form = Form(*size)
    return load.of_network(network, _pca(network.dimension(form), pca), form, "small", 8, facts)


def _on_host(tree):
    if isinstance(tree, dict):
        return {name: _on_host(leaf) for name, leaf in tree.items()}
    return np.asarray(tree)


def _pca(dimension, kept):
    rng = np.random.default_rng(1)
    mean, kernel = 0.1 * rng.normal(size=dimension), rng.normal(size=(dimension, kept))
    return Projection(mean, kernel) if kept else None
