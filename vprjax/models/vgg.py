"""VGG16 convolutions, conv1_1 to conv5_3 (Simonyan & Zisserman 2015)."""

import functools

import jax
from flax import linen as nn
from jax import lax

from vprjax.models.layers import Layers

CHANNELS = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 512, "conv5": 512}
# Stage -> its parameter groups. A stage ends behind its last ReLU, before its pool.
STAGES = {
    stage: tuple(f"{stage}_{i + 1}" for i in range(2 if stage < "conv3" else 3))
    for stage in CHANNELS
}


class VGG16(nn.Module):
    """`(b, h, w, 3) -> (b, h / 2^i, w / 2^i, c)` (floor): the last ReLU stays, pool5 is dropped.

    Layers behind `stage` are not created; no gradient goes back past the input of `train_from`.
    """

    stage: str = "conv5"
    train_from: str = ""
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Returns the map of `stage`; VGG16 has no BatchNorm, so `train` changes nothing."""
        for stage in STAGES:
            if stage == self.train_from:
                x = lax.stop_gradient(x)
            x = self.layers.stage(self, functools.partial(_stage, name=stage), x)
            if stage == self.stage:
                return x
        raise ValueError(f"VGG16 has no stage {self.stage!r}; known: {', '.join(STAGES)}")


def _stage(vgg: VGG16, x: jax.Array, name: str) -> jax.Array:
    if name != "conv1":
        x = vgg.layers.max_pool(x, (2, 2), strides=(2, 2))
    for layer in STAGES[name]:
        x = nn.relu(vgg.layers.conv(layer, CHANNELS[name], 3, bias=True)(x))
    return x
