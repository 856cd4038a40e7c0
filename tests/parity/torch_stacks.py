"""AlexNet, CaffeNet, HybridNet and OverFeat in PyTorch, from the papers and the networks' definitions."""

import torch
import torch.nn.functional as F
from torch import nn


class AlexNet(nn.Module):
    """torchvision's names: `features.N.*`."""

    def __init__(self):
        super().__init__()
        pool = nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )

    def forward(self, x):
        """The output of every convolution, before its ReLU."""
        found = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                found.append(x)
        return found


class Caffe(nn.Module):
    """The grouped network; `widths` are the channels of its layers, conv1 to conv5, conv6, fc7_new."""

    def __init__(self, widths, pools_first):
        super().__init__()
        self.pools_first = pools_first
        shapes = [(11, 4, 0, 1), (5, 1, 2, 2), (3, 1, 1, 1), *[(3, 1, 1, 2)] * 3]
        c = 3
        for i, (width, (size, stride, pad, groups)) in enumerate(
            zip(widths, shapes, strict=False), 1
        ):
            self.add_module(f"conv{i}", nn.Conv2d(c, width, size, stride, pad, groups=groups))
            c = width
        if len(widths) == 7:
            self.fc7_new = nn.Linear(c * 36, widths[6])

    def _between(self, x):
        def norm(x):
            return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

        def pool(x):
            return F.max_pool2d(x, 3, 2, ceil_mode=True)

        return norm(pool(x)) if self.pools_first else pool(norm(x))

    def forward(self, x):
        """The output of every layer, before its ReLU."""
        found = []
        for name, layer in self.named_children():
            if found:
                x = F.relu(x)
            if name in ("conv2", "conv3"):
                x = self._between(x)
            if name == "fc7_new":
                x = F.max_pool2d(x, 3, 2, ceil_mode=True).flatten(1)
            x = layer(x)
            found.append(x if x.ndim == 4 else x[:, :, None, None])
        return found


class OverFeat(nn.Module):
    """Either network with these channels: `shapes` are (pool before, kernel, stride, pad)."""

    FAST = (
        *((0, 11, 4, 0), (2, 5, 1, 0), (2, 3, 1, 1), (0, 3, 1, 1), (0, 3, 1, 1)),
        *((2, 6, 1, 0), (0, 1, 1, 0)),
    )
    ACCURATE = (
        *((0, 7, 2, 0), (3, 7, 1, 0), (2, 3, 1, 1), (0, 3, 1, 1), (0, 3, 1, 1), (0, 3, 1, 1)),
        *((3, 5, 1, 0), (0, 1, 1, 0)),
    )

    def __init__(self, widths, shapes):
        super().__init__()
        self.pools, c, convs = [pool for pool, *_ in shapes], 3, []
        for width, (_, size, stride, pad) in zip(widths, shapes, strict=True):
            convs.append(nn.Conv2d(c, width, size, stride, pad))
            c = width
        self.convs = nn.ModuleList(convs)

    def forward(self, x):
        """The output of every layer, before its ReLU."""
        found = []
        for pool, conv in zip(self.pools, self.convs, strict=True):
            x = F.relu(x) if found else x
            x = F.max_pool2d(x, pool, pool) if pool else x
            x = conv(x)
            found.append(x)
        return found


def randomise(network, seed=0):
    """He-scaled kernels, so that no layer vanishes and the response's denominator matters."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in network.named_parameters():
            std = (2 / p[0].numel()) ** 0.5 if name.endswith("weight") else 0.1
            p.copy_(std * torch.randn(p.shape, generator=g))
    return network.eval()
