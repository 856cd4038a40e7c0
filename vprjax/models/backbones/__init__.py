"""Backbones: one file each, listed here. A new one is its file and one line of `BACKBONES`."""

from vprjax.models.backbones import mobilenetv2, resnet50, resnet50_v1, vgg16
from vprjax.models.backbones.variant import Backbone

BACKBONES: dict[str, Backbone] = {
    "vgg16": vgg16.BACKBONE,
    "resnet50": resnet50.BACKBONE,
    "resnet50_v1": resnet50_v1.BACKBONE,
    "mobilenetv2": mobilenetv2.BACKBONE,
}
