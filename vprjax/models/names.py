"""Names, shapes and layouts of every backbone array in torchvision's, timm's and Keras' files."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from vprjax.models import backbone, vgg

Path = tuple[str, ...]  # in a backbone's own variables: ("params", "conv2_1", "norm1", "scale")

VGG16_LAYERS = [name for names in vgg.STAGES.values() for name in names]
VGG16_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # in torchvision's `features`
TORCH_LEAF = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
KERAS_LEAF = {"scale": "gamma", "mean": "moving_mean", "var": "moving_variance"}


def names_and_shapes(name: str, source: str) -> dict[Path, tuple[str, tuple[int, ...]]]:
    """Path -> (name, shape) in a file of `source`, for every array of the whole backbone `name`.

    `source` is "torch" (torchvision and timm share their names here) or "keras"; raises KeyError
    for a pair without files: torchvision has ResNet50 v1.5 only, Keras v1 only.
    """
    naming = NAMING[name, source]
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    ours = jax.eval_shape(backbone(name).init, jax.random.key(0), image)
    flat = traverse_util.flatten_dict(ours)
    return {path: (naming(path), _shape(path, a.shape, source)) for path, a in flat.items()}


def convert(path: Path, array: np.ndarray, source: str) -> np.ndarray:
    """A file's array in our layout: kernels `(h, w, c, d)`, depthwise ones `(h, w, 1, c)`."""
    array = np.asarray(array, np.float32)
    if path[-1] != "kernel":
        return array
    if source == "torch":
        return array.transpose(2, 3, 1, 0)
    return array.swapaxes(2, 3) if path[-2] == "depthwise" else array


def _shape(path: Path, shape: tuple[int, ...], source: str) -> tuple[int, ...]:
    if path[-1] != "kernel":
        return shape
    h, w, c, d = shape
    if source == "torch":
        return d, c, h, w
    return (h, w, d, c) if path[-2] == "depthwise" else shape


def _keras_leaf(path: Path) -> str:
    if path[-1] == "bias" and "norm" in path[-2]:
        return "beta"
    return KERAS_LEAF.get(path[-1], path[-1])


def _vgg16_torch(path: Path) -> str:
    index = VGG16_INDEX[VGG16_LAYERS.index(path[1])]
    return f"features.{index}.{TORCH_LEAF.get(path[-1], path[-1])}"


def _vgg16_keras(path: Path) -> str:
    stage, _, i = path[1].removeprefix("conv").partition("_")
    return f"block{stage}_conv{i}/{_keras_leaf(path)}"


def _resnet_torch(path: Path) -> str:
    _, group, layer, leaf = path
    leaf = TORCH_LEAF.get(leaf, leaf)
    if group == "conv1":
        return f"{'conv1' if layer == 'conv' else 'bn1'}.{leaf}"
    stage, _, block = group.removeprefix("conv").partition("_")
    layer = {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}.get(
        layer, layer.replace("norm", "bn")
    )
    return f"layer{int(stage) - 1}.{int(block) - 1}.{layer}.{leaf}"


def _resnet_keras(path: Path) -> str:
    _, group, layer, _ = path
    kind = "bn" if "norm" in layer else "conv"
    if group == "conv1":
        return f"conv1_{kind}/{_keras_leaf(path)}"
    i = "0" if layer.startswith("shortcut") else layer[-1]
    return f"{group.replace('_', '_block')}_{i}_{kind}/{_keras_leaf(path)}"


def _mobilenet_keras(path: Path) -> str:
    _, group, layer, _ = path
    if group == "Conv1":
        name = "Conv1" if layer == "conv" else "bn_Conv1"
    elif group == "Conv_1":
        name = "Conv_1" if layer == "conv" else "Conv_1_bn"
    else:
        name = f"{group}_{layer.replace('_norm', '_BN')}"
    depthwise = "depthwise_" if layer == "depthwise" else ""
    return f"{name}/{depthwise}{_keras_leaf(path)}"


NAMING = {
    ("vgg16", "torch"): _vgg16_torch,
    ("vgg16", "keras"): _vgg16_keras,
    ("resnet50", "torch"): _resnet_torch,
    ("resnet50_v1", "keras"): _resnet_keras,
    ("mobilenetv2", "keras"): _mobilenet_keras,
}
