"""ResNet50 v1.5, as torchvision and timm have it."""

from vprjax.models.backbones.resnet import STAGES, ResNet50
from vprjax.models.backbones.sources import IMAGENET, torch_leaf
from vprjax.models.backbones.variant import Backbone, Path, Source


def _torch(path: Path) -> str:
    _, group, layer, _ = path
    if group == "conv1":
        return f"{'conv1' if layer == 'conv' else 'bn1'}.{torch_leaf(path)}"
    stage, _, block = group.removeprefix("conv").partition("_")
    layer = {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}.get(
        layer, layer.replace("norm", "bn")
    )
    return f"layer{int(stage) - 1}.{int(block) - 1}.{layer}.{torch_leaf(path)}"


BACKBONE = Backbone(
    title="ResNet50",
    module=ResNet50,
    stages=STAGES,
    batch_norm=True,
    sources={
        "torch": Source(_torch, IMAGENET, head=r"fc\.(weight|bias)|.*\.num_batches_tracked"),
    },
    refused={"keras": "Keras has v1; use backbone resnet50_v1"},
    cut_for={64: "conv4", 48: "conv3"},
)
