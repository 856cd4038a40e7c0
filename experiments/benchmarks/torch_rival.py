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
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

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
