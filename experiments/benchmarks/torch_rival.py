"""The rival in PyTorch, as a careful user writes it: frozen BatchNorm, channels_last, AdamW.

It has our models (under torchvision's parameter names), heads and triplet loss, so that the benchmark can
compare both sides' numbers first.
"""

import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # torchvision's, on 0..255
VGG_CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


def vgg16() -> nn.Module:
    """Torchvision's `vgg16().features` without its last pool."""
    layers, c = [], 3
    for d in VGG_CHANNELS:
        if d == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(c, d, 3, padding=1), nn.ReLU(inplace=True)]
            c = d
    module = nn.Module()
    module.features = nn.Sequential(*layers)
    module.forward = module.features.forward
    return module


class Bottleneck(nn.Module):
    """Torchvision's bottleneck block, v1.5."""

    def __init__(self, c: int, width: int, stride: int, downsample: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(c, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if downsample:
            conv = nn.Conv2d(c, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        """`relu(shortcut(x) + branch(x))`."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet50(nn.Module):
    """Torchvision's `resnet50` without `avgpool` and `fc`."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        c = 64
        for i, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
            strides = [2 if i > 1 and j == 0 else 1 for j in range(blocks)]
            layer = []
            for j, stride in enumerate(strides):
                layer.append(Bottleneck(c, width, stride, j == 0))
                c = 4 * width
            setattr(self, f"layer{i}", nn.Sequential(*layer))

    def forward(self, x):
        """`(b, 3, h, w) -> (b, 2048, h/32, w/32)`."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class MobileNetV2(nn.Module):
    """Keras' MobileNetV2 without its top; a layer has the name of Keras' layer."""

    CHANNELS = (16, 24, 24, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320)
    STRIDES = (1, 2, 1, 2, 1, 1, 2, *[1] * 6, 2, 1, 1, 1)

    def __init__(self):
        super().__init__()
        self._add("Conv1", "bn_Conv1", nn.Conv2d(3, 32, 3, 2, bias=False))
        c = 32
        for i, (d, stride) in enumerate(zip(self.CHANNELS, self.STRIDES, strict=True)):
            name, wide = (f"block_{i}", 6 * c) if i else ("expanded_conv", c)
            if i:
                self._norm(name, "expand", nn.Conv2d(c, wide, 1, bias=False))
            depthwise = nn.Conv2d(wide, wide, 3, stride, stride % 2, groups=wide, bias=False)
            self._norm(name, "depthwise", depthwise)
            self._norm(name, "project", nn.Conv2d(wide, d, 1, bias=False))
            c = d
        self._add("Conv_1", "Conv_1_bn", nn.Conv2d(320, 1280, 1, bias=False))

    def _norm(self, block: str, layer: str, conv: nn.Conv2d) -> None:
        self._add(f"{block}_{layer}", f"{block}_{layer}_BN", conv)

    def _add(self, name: str, norm: str, conv: nn.Conv2d) -> None:
        self.add_module(name, conv)
        self.add_module(norm, nn.BatchNorm2d(conv.out_channels, eps=1e-3))

    def _block(self, x, name: str, stride: int):
        m = self._modules
        y = x
        if f"{name}_expand" in m:
            y = F.relu6(m[f"{name}_expand_BN"](m[f"{name}_expand"](y)), inplace=True)
        if stride == 2:  # as TensorFlow pads even sizes
            y = F.pad(y, (0, 1, 0, 1))
        y = F.relu6(m[f"{name}_depthwise_BN"](m[f"{name}_depthwise"](y)), inplace=True)
        y = m[f"{name}_project_BN"](m[f"{name}_project"](y))
        return x + y if x.shape == y.shape else y

    def forward(self, x):
        """`(b, 3, h, w) -> (b, 1280, h/32, w/32)`, h and w multiples of 32."""
        m = self._modules
        x = F.relu6(m["bn_Conv1"](m["Conv1"](F.pad(x, (0, 1, 0, 1)))), inplace=True)
        for i, stride in enumerate(self.STRIDES):
            x = self._block(x, f"block_{i}" if i else "expanded_conv", stride)
        return F.relu6(m["Conv_1_bn"](m["Conv_1"](x)), inplace=True)


def keras_arrays(backbone: nn.Module) -> dict:
    """The arrays of `MobileNetV2` by Keras' names and in its layout."""
    out = {}
    for name, layer in backbone.named_children():
        if isinstance(layer, nn.Conv2d):
            axes, leaf = (
                ((2, 3, 0, 1), "depthwise_kernel") if layer.groups > 1 else ((2, 3, 1, 0), "kernel")
            )
            out[f"{name}/{leaf}"] = layer.weight.detach().permute(*axes).numpy()
            continue
        arrays = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
        for leaf, array in zip(
            ("gamma", "beta", "moving_mean", "moving_variance"), arrays, strict=True
        ):
            out[f"{name}/{leaf}"] = array.detach().numpy()
    return out


class GeM(nn.Module):
    """GeM with one shared exponent, as in its authors' code."""

    def __init__(self, p: float = 3.0):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))

    def forward(self, x):
        """`(b, c, h, w) -> (b, c)`."""
        pooled = x.clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)
        return F.normalize(pooled, dim=1)


class NetVLAD(nn.Module):
    """NetVLAD with one matrix product in place of the usual `(b, k, c, h w)` tensor of residuals."""

    def __init__(self, weights, biases, centers):
        super().__init__()
        self.weights, self.biases, self.centers = map(nn.Parameter, (weights, biases, centers))

    def forward(self, x):
        """`(b, c, h, w) -> (b, k c)`."""
        local = F.normalize(x, dim=1).flatten(2).transpose(1, 2)
        assignment = F.softmax(local @ self.weights.T + self.biases, dim=2)
        pulled = assignment.transpose(1, 2) @ local
        residuals = pulled - assignment.sum(1)[:, :, None] * self.centers
        return F.normalize(F.normalize(residuals, dim=2).flatten(1), dim=1)


class Descriptor(nn.Module):
    """Turns uint8 images `(b, h, w, 3)` into unit descriptors."""

    def __init__(self, backbone: nn.Module, pooling: nn.Module):
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        keras = isinstance(backbone, MobileNetV2)
        mean, std = ((127.5,) * 3, (127.5,) * 3) if keras else (MEAN, STD)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images):
        """`(b, h, w, 3) -> (b, d)`; NHWC bytes are channels_last in memory."""
        x = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return self.pooling(self.backbone(x))


def triplet(descriptors, margin: float):
    """The mean of Eq. 6 over tuples `(b, m, d)`, query first, positive second."""
    query, positive, negatives = descriptors[:, :1], descriptors[:, 1:2], descriptors[:, 2:]
    near = ((query - positive) ** 2).sum(-1)
    far = ((query - negatives) ** 2).sum(-1)
    return F.relu(near - far + margin).sum(1).mean()
