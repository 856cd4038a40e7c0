"""Backbones: one file each, listed here. A new one is its file and one line of `BACKBONES`."""

from vprjax.models.backbones import (
    dinov2_vitb14,
    dinov2_vitb14_reg,
    dinov2_vitb14_tokens,
    dinov2_vitg14,
    dinov2_vitg14_reg,
    dinov2_vitl14,
    dinov2_vitl14_reg,
    dinov2_vits14,
    dinov2_vits14_reg,
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
    "dinov2_vits14": dinov2_vits14.BACKBONE,
    "dinov2_vits14_reg": dinov2_vits14_reg.BACKBONE,
    "dinov2_vitb14": dinov2_vitb14.BACKBONE,
    "dinov2_vitb14_reg": dinov2_vitb14_reg.BACKBONE,
    "dinov2_vitb14_tokens": dinov2_vitb14_tokens.BACKBONE,
    "dinov2_vitl14": dinov2_vitl14.BACKBONE,
    "dinov2_vitl14_reg": dinov2_vitl14_reg.BACKBONE,
    "dinov2_vitg14": dinov2_vitg14.BACKBONE,
    "dinov2_vitg14_reg": dinov2_vitg14_reg.BACKBONE,
}
