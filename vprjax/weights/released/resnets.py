"""The ResNets of released files: which one a file holds, and its names where they are numbers."""

import re

from vprjax.models.backbones.resnet import torch_name
from vprjax.models.backbones.variant import Path
from vprjax.weights.released.variant import count

# A ResNet's number of blocks in layer3, and whether they have a third convolution -> its name.
_RESNETS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
# A sequence's 0 is conv1, 1 bn1, 4 to 7 are layer1 to layer4.
_NUMBERS = {"conv1": "0", "bn1": "1"} | {f"layer{i}": str(i + 3) for i in range(1, 5)}


def backbone_of(names, layer3: str, otherwise: str = "resnet50") -> str:
    """Returns which ResNet has the blocks `layer3.0`, `layer3.1`, ... that a file names."""
    third = any(name.startswith(f"{layer3}.") and "conv3" in name for name in names)
    blocks = count(rf"{re.escape(layer3)}\.(\d+)\.conv1\.weight", names)
    return _RESNETS.get((blocks, third), otherwise)


def numbered(path: Path) -> str:
    """Returns the name of a model's variable in a sequence of torchvision's modules, `4.0.conv1.weight`."""
    layer, _, rest = torch_name((path[0], *path[2:])).partition(".")
    return f"{_NUMBERS[layer]}.{rest}"
