"""Backbones: one file each, listed here. A new one is its file and one line of `BACKBONES`."""

from vprjax.models.backbones import (
    mobilenetv2,
    resnet18,
    resnet34,
    resnet50,
    resnet50_v1,
    resnet101,
    resnet152,
    vgg16,
)
from vprjax.models.backbones.variant import Backbone

BACKBONES: dict[str, Backbone] = {
    "vgg16": vgg16.BACKBONE,
    "resnet18": resnet18.BACKBONE,
    "resnet34": resnet34.BACKBONE,
    "resnet50": resnet50.BACKBONE,
    "resnet101": resnet101.BACKBONE,
    "resnet152": resnet152.BACKBONE,
    "resnet50_v1": resnet50_v1.BACKBONE,
    "mobilenetv2": mobilenetv2.BACKBONE,
}
