"""The backbones in PyTorch, written from the papers and the libraries' parameter names.

`VGG16` and `ResNet` carry torchvision's names; `KerasResNet50` and `KerasMobileNetV2` name their
modules after Keras' layers. `keras_arrays` and `write_h5` turn a module into a Keras file.
"""

import math

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_calibrating = False


def relu(x, bias, top=math.inf):
    """ReLU, or ReLU6 with `top=6`; while `calibrate` runs it moves `bias` away from the kinks."""
    if _calibrating:
        shift = _best_shift(x, top)
        bias += shift
        x = x + shift[:, None, None]
    return x.clamp(0, top)


def _best_shift(x, top):
    """Per channel the shift in +-0.3 that keeps every value furthest from 0 and `top`."""
    best, margin = torch.zeros(x.shape[1]), torch.zeros(x.shape[1])
    for shift in torch.linspace(-0.3, 0.3, 61):
        distance = torch.minimum((x + shift).abs(), (x + shift - top).abs()).amin((0, 2, 3))
        better = distance > margin
        best, margin = torch.where(better, shift, best), torch.where(better, distance, margin)
    return best


def calibrate(network, x):
    """Moves the biases so that on `x` no pre-activation lies within rounding of a kink.

    Otherwise a rounding difference of 1e-7 flips a ReLU here and there, and one flipped unit of n
    changes a gradient by about 1/sqrt(n), which says nothing about the formulas.
    """
    global _calibrating
    _calibrating = True
    with torch.no_grad():
        network(x)
    _calibrating = False


VGG_CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


class VGG16(nn.Module):
    def __init__(self):
        super().__init__()
        layers, c = [], 3
        for d in VGG_CHANNELS:
            if d == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(c, d, 3, padding=1), nn.Identity()]  # ReLU, in forward
                c = d
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        for layer in self.features:
            x = relu(layer(x), layer.bias) if isinstance(layer, nn.Conv2d) else layer(x)
        return x


class TorchBottleneck(nn.Module):
    def __init__(self, c, width, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(c, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if downsample:
            self.downsample = nn.Sequential(
                nn.Conv2d(c, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        y = relu(self.bn1(self.conv1(x)), self.bn1.bias)
        y = relu(self.bn2(self.conv2(y)), self.bn2.bias)
        y = self.bn3(self.conv3(y))
        y = y + (x if self.downsample is None else self.downsample(x))
        return relu(y, self.bn3.bias)


class TorchBasicBlock(nn.Module):
    def __init__(self, c, width, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(c, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if downsample:
            self.downsample = nn.Sequential(
                nn.Conv2d(c, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)), self.bn1.bias)))
        y = y + (x if self.downsample is None else self.downsample(x))
        return relu(y, self.bn2.bias)


class ResNet(nn.Module):
    """v1.5 with these blocks. `layers` cuts it: 2 is conv2 alone."""

    def __init__(self, blocks=(3, 4, 6, 3), layers=5, basic=False):
        super().__init__()
        kind, wider = (TorchBasicBlock, 1) if basic else (TorchBottleneck, 4)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        c = 64
        for i, count in enumerate(blocks[: layers - 1]):
            layer, width = [], 64 * 2**i
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                layer.append(kind(c, width, stride, j == 0 and (i > 0 or not basic)))
                c = wider * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))
        self.layers = layers

    def forward(self, x):
        x = F.max_pool2d(relu(self.bn1(self.conv1(x)), self.bn1.bias), 3, 2, 1)
        for i in range(1, self.layers):
            x = getattr(self, f"layer{i}")(x)
        return x


class KerasResNet50(nn.Module):
    """v1 as in keras.applications: stride in the first 1x1, biases, eps 1.001e-5."""

    def __init__(self):
        super().__init__()
        self._conv_bn("conv1", 3, 64, 7, 2)
        c = 64
        for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=2):
            for block in range(1, blocks + 1):
                name, stride = f"conv{stage}_block{block}", 2 if stage > 2 and block == 1 else 1
                if block == 1:
                    self._conv_bn(f"{name}_0", c, 4 * width, 1, stride)
                self._conv_bn(f"{name}_1", c, width, 1, stride)
                self._conv_bn(f"{name}_2", width, width, 3, 1)
                self._conv_bn(f"{name}_3", width, 4 * width, 1, 1)
                c = 4 * width

    def _conv_bn(self, name, c, d, size, stride):
        self.add_module(f"{name}_conv", nn.Conv2d(c, d, size, stride, size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(d, eps=1.001e-5))

    def _apply_conv_bn(self, name, x):
        return getattr(self, f"{name}_bn")(getattr(self, f"{name}_conv")(x))

    def _conv_bn_relu(self, name, x):
        return relu(self._apply_conv_bn(name, x), getattr(self, f"{name}_bn").bias)

    def forward(self, x, last=5):
        # ZeroPadding2D(1) in front of a VALID max pool behind a ReLU.
        x = self._conv_bn_relu("conv1", x)
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)
        for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3))[: last - 1]:
            for block in range(1, blocks + 1):
                name = f"conv{stage}_block{block}"
                y = self._conv_bn_relu(f"{name}_1", x)
                y = self._conv_bn_relu(f"{name}_2", y)
                y = self._apply_conv_bn(f"{name}_3", y)
                y = y + (self._apply_conv_bn(f"{name}_0", x) if block == 1 else x)
                x = relu(y, getattr(self, f"{name}_3_bn").bias)
        return x


def correct_pad(x):
    """Keras' `correct_pad` for a 3x3 kernel and stride 2: even sizes (0, 1), odd sizes (1, 1)."""
    h, w = x.shape[-2:]
    return F.pad(x, (w % 2, 1, h % 2, 1))


class KerasMobileNetV2(nn.Module):
    BLOCKS = (
        *((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1)),
        *((96, 1), (96, 1), (96, 1), (160, 2), (160, 1), (160, 1), (320, 1)),
    )

    def __init__(self):
        super().__init__()
        self._conv_bn("Conv1", "bn_Conv1", 3, 32, 3, 2)
        c = 32
        for i, (d, stride) in enumerate(self.BLOCKS):
            name, wide = (f"block_{i}", 6 * c) if i else ("expanded_conv", c)
            if i:
                self._conv_bn(f"{name}_expand", f"{name}_expand_BN", c, wide, 1, 1)
            self._conv_bn(
                f"{name}_depthwise", f"{name}_depthwise_BN", wide, wide, 3, stride, groups=wide
            )
            self._conv_bn(f"{name}_project", f"{name}_project_BN", wide, d, 1, 1)
            c = d
        self._conv_bn("Conv_1", "Conv_1_bn", 320, 1280, 1, 1)

    def _conv_bn(self, conv, bn, c, d, size, stride, groups=1):
        padding = 1 if size == 3 and stride == 1 else 0  # stride 2 is padded by correct_pad
        self.add_module(conv, nn.Conv2d(c, d, size, stride, padding, groups=groups, bias=False))
        self.add_module(bn, nn.BatchNorm2d(d, eps=1e-3))

    def _apply_conv_bn(self, conv, bn, x):
        layer = getattr(self, conv)
        x = correct_pad(x) if layer.stride == (2, 2) else x
        return getattr(self, bn)(layer(x))

    def _conv_bn_relu6(self, conv, bn, x):
        return relu(self._apply_conv_bn(conv, bn, x), getattr(self, bn).bias, 6)

    def forward(self, x, stage="Conv_1"):
        x = self._conv_bn_relu6("Conv1", "bn_Conv1", x)
        for i in range(len(self.BLOCKS)):
            name, y = f"block_{i}" if i else "expanded_conv", x
            if i:
                y = self._conv_bn_relu6(f"{name}_expand", f"{name}_expand_BN", y)
            if stage == f"{name}_expand":
                return y
            y = self._conv_bn_relu6(f"{name}_depthwise", f"{name}_depthwise_BN", y)
            y = self._apply_conv_bn(f"{name}_project", f"{name}_project_BN", y)
            x = x + y if x.shape == y.shape else y
            if stage == name:
                return x
        return self._conv_bn_relu6("Conv_1", "Conv_1_bn", x)


def randomise(module, seed):
    """He-scaled kernels and BatchNorm statistics and parameters that are far from 0 and 1."""
    g = torch.Generator().manual_seed(seed)

    def normal(t, std, mean=0.0):
        t.copy_(mean + std * torch.randn(t.shape, generator=g))

    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.Conv2d):
                normal(m.weight, (2 / m.weight[0].numel()) ** 0.5)
                if m.bias is not None:
                    normal(m.bias, 0.1)
            elif isinstance(m, nn.BatchNorm2d):
                normal(m.weight, 0.1, 0.7)
                normal(m.bias, 0.1)
                normal(m.running_mean, 0.2)
                m.running_var.copy_(0.5 + torch.rand(m.running_var.shape, generator=g))
    return module.eval()


def keras_arrays(module):
    """`{"layer/kernel": array}` of a module whose sub-modules are named after Keras' layers."""
    arrays = {}
    for name, m in module.named_children():
        if isinstance(m, nn.Conv2d):
            depthwise = m.groups > 1
            order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            kernel = m.weight.detach().permute(*order).contiguous().numpy()
            arrays[f"{name}/{'depthwise_' if depthwise else ''}kernel"] = kernel
            if m.bias is not None:
                arrays[f"{name}/bias"] = m.bias.detach().numpy()
        else:
            arrays[f"{name}/gamma"] = m.weight.detach().numpy()
            arrays[f"{name}/beta"] = m.bias.detach().numpy()
            arrays[f"{name}/moving_mean"] = m.running_mean.numpy()
            arrays[f"{name}/moving_variance"] = m.running_var.numpy()
    return arrays


def vgg16_keras_arrays(module):
    """`VGG16` under the names of Keras' layers."""
    convs = [m for m in module.features if isinstance(m, nn.Conv2d)]
    names = [f"block{b}_conv{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    return keras_arrays(nn.ModuleDict(dict(zip(names, convs, strict=True))))


def write_h5(path, arrays, keras1_names=False):
    """Keras' legacy weights layout: `layer/layer/kernel:0`, attributes `layer_names`, `weight_names`.

    With `keras1_names`, as the VGG16 file of keras.applications: `layer/layer_W_1:0`.
    """
    layers = {}
    for key, array in arrays.items():
        layer, _, leaf = key.partition("/")
        old = {"kernel": "W_1", "bias": "b_1"}.get(leaf)
        name = f"{layer}_{old}:0" if keras1_names else f"{layer}/{leaf}:0"
        layers.setdefault(layer, {})[name] = array
    layers["input_1"] = {}
    with h5py.File(path, "w") as f:
        f.attrs["layer_names"] = np.array([n.encode() for n in layers])
        f.attrs["backend"], f.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer, weights in layers.items():
            group = f.create_group(layer)
            group.attrs["weight_names"] = np.array([n.encode() for n in weights], "S")
            for name, array in weights.items():
                group[name] = array
