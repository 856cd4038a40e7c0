"""The names of leaves and statistics of images that backbones of one family of weights files share."""

from vprjax.models.backbones.variant import Path

# torchvision's ImageNet statistics, RGB, on the 0..255 scale.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
IMAGENET = {"mean": MEAN, "std": STD}
# Of Keras' `preprocess_input(mode="caffe")`.
CAFFE = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}

_TORCH = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_KERAS = {"scale": "gamma", "mean": "moving_mean", "var": "moving_variance"}


def torch_leaf(path: Path) -> str:
    """Returns the last part of an array's name in torchvision's and timm's files."""
    return _TORCH.get(path[-1], path[-1])


def keras_leaf(path: Path) -> str:
    """Returns the last part of an array's name in Keras' files, without a depthwise kernel's prefix."""
    if path[-1] == "bias" and "norm" in path[-2]:
        return "beta"
    return _KERAS.get(path[-1], path[-1])
