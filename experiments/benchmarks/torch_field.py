"""The field's models in PyTorch, as their users run them, under the names of their released files."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_rival import MEAN, STD, Bottleneck, GeM

PATCH, GRID = 14, 37


class ResNet(nn.Module):
    """Torchvision's ResNet of bottlenecks, cut behind its last layer here."""

    def __init__(self, blocks: tuple[int, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.depth, c = len(blocks), 64
        for i, count in enumerate(blocks):
            width, layer = 64 << i, []
            for j in range(count):
                layer.append(Bottleneck(c, width, 2 if i and not j else 1, j == 0))
                c = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layer))

    def forward(self, x):
        """`(b, 3, h, w) -> (b, c, h', w')`."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        for i in range(self.depth):
            x = getattr(self, f"layer{i + 1}")(x)
        return x


class Numbered(nn.Sequential):
    """The same network as a sequence of torchvision's modules, as DVGL saves it."""

    def __init__(self, net: ResNet):
        pool = nn.MaxPool2d(3, 2, 1)
        layers = (getattr(net, f"layer{i + 1}") for i in range(net.depth))
        super().__init__(net.conv1, net.bn1, nn.ReLU(inplace=True), pool, *layers)


class Block(nn.Module):
    """A block of DINOv2's transformers."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.ls1, self.ls2 = (
            nn.ParameterDict({"gamma": torch.full((width,), 0.1)}) for _ in range(2)
        )

    def forward(self, x):
        """`(b, n, c) -> (b, n, c)`."""
        b, n, c = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b, n, c)
        x = x + self.ls1["gamma"] * self.attn["proj"](found)
        y = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + self.ls2["gamma"] * y


class DINOv2(nn.Module):
    """DINOv2 without registers, `(b, 3, h, w) -> (b, c, h / 14, w / 14), (b, c)`."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + GRID**2, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x):
        """The map behind the final LayerNorm, and the class token."""
        x = self.patch_embed["proj"](x)
        b, c, h, w = x.shape
        grid = self.pos_embed[:, 1:].reshape(1, GRID, GRID, c).permute(0, 3, 1, 2)
        scale = ((h + 0.1) / GRID, (w + 0.1) / GRID)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(b, 1, c)
        x = torch.cat([first, x.flatten(2).transpose(1, 2) + grid], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 1:].transpose(1, 2).reshape(b, c, h, w), x[:, 0]


class SALAD(nn.Module):
    """Optimal transport of a map's features to clusters, beside the class token; as its paper says."""

    def __init__(self, width: int = 768, clusters: int = 64, features: int = 128, token: int = 256):
        super().__init__()

        def mlp(of, last):
            gap = [nn.Dropout(0.3)] if of is nn.Conv2d else []
            ends = [(width, 512), (512, last)]
            first, second = (of(*s, 1) if of is nn.Conv2d else of(*s) for s in ends)
            return nn.Sequential(first, *gap, nn.ReLU(), second)

        self.token_features = mlp(nn.Linear, token)
        self.cluster_features, self.score = mlp(nn.Conv2d, features), mlp(nn.Conv2d, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, token):
        """`(b, c, h, w), (b, c) -> (b, d)`."""
        f, s = self.cluster_features(x).flatten(2), self.score(x).flatten(2)
        b, k, n = s.shape
        scores = torch.cat([s, self.dust_bin.expand(b, 1, n)], dim=1)
        rows = torch.zeros(k + 1, 1, device=s.device)
        rows[k] = torch.log(torch.tensor(float(n - k)))
        v = torch.zeros(b, 1, n, device=s.device)
        for _ in range(3):
            u = rows - torch.logsumexp(scores + v, dim=2, keepdim=True)
            v = -torch.logsumexp(scores + u, dim=1, keepdim=True)
        p = (scores + u + v).exp()[:, :k]
        sums = F.normalize(torch.einsum("bln,bkn->blk", f, p), dim=1).flatten(1)
        token = F.normalize(self.token_features(token), dim=1)
        return F.normalize(torch.cat([token, sums], dim=1), dim=1)


class Mixer(nn.Module):
    """`x + W2 relu(W1 norm(x))` over the positions."""

    def __init__(self, positions: int):
        super().__init__()
        wide, narrow = nn.Linear(positions, positions), nn.Linear(positions, positions)
        self.mix = nn.Sequential(nn.LayerNorm(positions), wide, nn.ReLU(), narrow)

    def forward(self, x):
        """`(b, c, n) -> (b, c, n)`."""
        return x + self.mix(x)


class MixVPR(nn.Module):
    """Four mixers and two linear layers, `(b, 1024, 20, 20) -> (b, 4096)`."""

    def __init__(self, channels: int = 1024, positions: int = 400, rows: int = 4):
        super().__init__()
        self.mix = nn.Sequential(*(Mixer(positions) for _ in range(4)))
        self.channel_proj, self.row_proj = nn.Linear(channels, channels), nn.Linear(positions, rows)

    def forward(self, x):
        """`(b, c, h, w) -> (b, d)`."""
        x = self.channel_proj(self.mix(x.flatten(2)).transpose(1, 2)).transpose(1, 2)
        return F.normalize(self.row_proj(x).flatten(1), dim=1)


class Local(nn.Module):
    """L2 length 1 of each local descriptor, as DVGL and CosPlace have it in front of GeM."""

    def forward(self, x):
        """`(b, c, h, w) -> (b, c, h, w)`."""
        return F.normalize(x, dim=1)


class PlainGeM(GeM):
    """GeM whose vector is not normalised, as DVGL gives it."""

    def forward(self, x):
        """`(b, c, h, w) -> (b, c)`."""
        return x.clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)


class Model(nn.Module):
    """Turns uint8 images `(b, h, w, 3)` into descriptors; holds a backbone and a head by any names."""

    def __init__(self, backbone: nn.Module, head: nn.Module, names: tuple[str, str]):
        super().__init__()
        self.parts = names
        self.add_module(names[0], backbone)
        self.add_module(names[1], head)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images):
        """`(b, h, w, 3) -> (b, d)`."""
        x = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        backbone, head = (self.get_submodule(name) for name in self.parts)
        found = backbone(x)
        return head(*found) if isinstance(found, tuple) else head(found)


def salad() -> Model:
    """DINOv2 ViT-B + SALAD."""
    return Model(DINOv2(), SALAD(), ("backbone", "aggregator"))


def mixvpr() -> Model:
    """ResNet50 up to layer3 + MixVPR."""
    return Model(ResNet((3, 4, 6)), MixVPR(), ("backbone", "aggregator"))


def gem() -> Model:
    """ResNet101 + GeM, DVGL's."""
    head = nn.Sequential(Local(), PlainGeM())
    return Model(Numbered(ResNet((3, 4, 23, 3))), head, ("backbone", "aggregation"))
