"""DINOv2 and SALAD in PyTorch, written from the papers and the names in the released files."""

import torch
import torch.nn.functional as F
from torch import nn

PATCH, GRID = 14, 37


class Holder(nn.Module):
    """A module that only holds others and tensors."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Block(nn.Module):
    def __init__(self, width, heads, gated):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = Holder(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width))
        self.ls1 = Holder(gamma=nn.Parameter(torch.ones(width)))
        self.ls2 = Holder(gamma=nn.Parameter(torch.ones(width)))
        if gated:
            inner = -(-int(8 * width / 3) // 8) * 8
            self.mlp = Holder(w12=nn.Linear(width, 2 * inner), w3=nn.Linear(inner, width))
        else:
            self.mlp = Holder(fc1=nn.Linear(width, 4 * width), fc2=nn.Linear(4 * width, width))

    def attention(self, x):
        b, n, d = x.shape
        q, k, v = (
            part.reshape(b, n, self.heads, -1).transpose(1, 2)
            for part in self.attn.qkv(x).split(d, dim=2)
        )
        weights = (q @ k.transpose(2, 3) / (d // self.heads) ** 0.5).softmax(dim=3)
        return self.attn.proj((weights @ v).transpose(1, 2).reshape(b, n, d))

    def perceptron(self, x):
        if hasattr(self.mlp, "w12"):
            a, b = self.mlp.w12(x).chunk(2, dim=2)
            return self.mlp.w3(a * a.sigmoid() * b)
        x = self.mlp.fc1(x)
        return self.mlp.fc2(0.5 * x * (1 + torch.erf(x / 2**0.5)))

    def forward(self, x):
        x = x + self.ls1.gamma * self.attention(self.norm1(x))
        return x + self.ls2.gamma * self.perceptron(self.norm2(x))


class DINOv2(nn.Module):
    """Images `(b, 3, h, w)`, scaled -> map `(b, c, h / 14, w / 14)` and class token `(b, c)`."""

    def __init__(self, width, depth, heads, registers=0, gated=False, tokens=0, tokens_from=0):
        super().__init__()
        if tokens:  # ImAge's, which stand in front of all others from a block on
            self.learnable_aggregation_tokens = nn.Parameter(torch.zeros(1, tokens, width))
        self.tokens, self.tokens_from = tokens, tokens_from
        self.patch_embed = Holder(proj=nn.Conv2d(3, width, PATCH, PATCH))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        self.blocks = nn.ModuleList([Block(width, heads, gated) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, 1e-6)
        self.registers = registers

    def positions(self, h, w):
        grid = self.pos_embed[:, 1:].reshape(1, GRID, GRID, -1).permute(0, 3, 1, 2)
        if self.registers and not self.tokens:
            grid = F.interpolate(grid, size=(h, w), mode="bicubic", antialias=True)
        elif (h, w) != (GRID, GRID):
            scale = ((h + 0.1) / GRID, (w + 0.1) / GRID)
            grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        assert grid.shape[2:] == (h, w)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, x, blocks=None, norm=True):
        sides = [PATCH * round(side / PATCH) for side in x.shape[2:]]
        if sides != list(x.shape[2:]):
            x = F.interpolate(x, size=sides, mode="bilinear", antialias=True)
        x = self.patch_embed.proj(x)
        b, d, h, w = x.shape
        x = torch.cat([self.cls_token.expand(b, 1, d), x.flatten(2).transpose(1, 2)], dim=1)
        x = x + self.positions(h, w)
        if self.registers:
            x = torch.cat([x[:, :1], self.register_tokens.expand(b, -1, d), x[:, 1:]], dim=1)
        for number, block in enumerate(self.blocks[:blocks], 1):
            if self.tokens and number == self.tokens_from:
                x = torch.cat([self.learnable_aggregation_tokens.expand(b, -1, d), x], dim=1)
            x = block(x)
        x = self.norm(x) if norm else x
        patches = x[:, -h * w :].transpose(1, 2).reshape(b, d, h, w)
        return patches, x[:, : self.tokens].flatten(1) if self.tokens else x[:, 0]

    def values(self, x, number):
        """The values of block `number`, counted from 0, of the patches `(b, h w, c)`: all heads."""
        kept = []
        hook = self.blocks[number].attn.qkv.register_forward_hook(lambda *a: kept.append(a[2]))
        self(x)
        hook.remove()
        return kept[0][:, 1 + self.registers :, -kept[0].shape[2] // 3 :]


class SALAD(nn.Module):
    """Map `(b, c, h, w)` and class token `(b, c)` -> `(b, t + l * k)`, its two parts of length 1 and k."""

    def __init__(self, width, clusters=64, cluster_dim=128, token_dim=256, hidden=512):
        super().__init__()
        gap = nn.Identity()  # where the released code has dropout
        self.token_features = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, token_dim)
        )
        self.cluster_features, self.score = (
            nn.Sequential(
                nn.Conv2d(width, hidden, 1), gap, nn.ReLU(), nn.Conv2d(hidden, features, 1)
            )
            for features in (cluster_dim, clusters)
        )
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, token):
        f, s = self.cluster_features(x).flatten(2), self.score(x).flatten(2)
        p = transport(s, self.dust_bin)
        v = F.normalize(torch.einsum("bln,bkn->blk", f, p), dim=1).flatten(1)
        return torch.cat([F.normalize(self.token_features(token), dim=1), v], dim=1)


def transport(scores, dust_bin):
    """Sinkhorn's three iterations on the matrix itself, without logarithms."""
    b, k, n = scores.shape
    kernel = torch.cat([scores, dust_bin.expand(b, 1, n)], dim=1).exp()
    rows = torch.ones(k + 1, 1, dtype=kernel.dtype)
    rows[k] = n - k
    v = torch.ones(b, 1, n, dtype=kernel.dtype)
    for _ in range(3):
        u = rows / (kernel * v).sum(dim=2, keepdim=True)
        v = 1 / (kernel * u).sum(dim=1, keepdim=True)
    return (kernel * u * v)[:, :k]


def randomise(module, seed=0):
    """Random values of every parameter, none of them near its start."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if name.endswith("pos_embed"):
                p.copy_(0.5 * noise)
            elif p.ndim > 1:
                p.copy_(noise * (1.5 / max(1, p[0].numel())) ** 0.5)
            else:
                around = 1.0 if "gamma" in name or ("norm" in name and "weight" in name) else 0.0
                p.copy_(around + 0.3 * noise)
    return module.eval()
