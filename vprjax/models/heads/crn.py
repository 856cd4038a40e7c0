"""CRN: NetVLAD whose local descriptors a context re-weighting network weighs first."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from vprjax.models.heads import netvlad
from vprjax.models.heads.variant import ClusterStart, Head

_EXACT = lax.Precision.HIGHEST
_CONTEXT = {3: 32, 5: 32, 7: 20}  # size of a context filter -> its channels


class CRN(nn.Module):
    """NetVLAD with `a_ik m_i` in place of `a_ik`, `(b, h, w, d) -> (b, k * d)`.

    The mask `m` comes from the L2-normalised map: mean over 3x3 in steps of 2, context filters 3x3, 5x5
    and 7x7, ReLU, a weighted sum over their channels, ReLU, and twice the size by linear interpolation.

    Source: Kim et al. 2017, in the form of Berton et al. 2022, who keep the weighted sum at its start;
    here it trains.
    """

    clusters: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns `(b, k * d)`, cluster-major, normalised."""
        weights, biases, centers = netvlad.parameters(self, x.shape[-1])
        local, assignment = netvlad.soft_assignment(x, weights, biases, centers)
        context = _mean_3x3(local.reshape(x.shape))
        found = [
            _conv(features, size, f"context{size}")(context) for size, features in _CONTEXT.items()
        ]
        context = nn.relu(jnp.concatenate(found, axis=-1))
        ones = nn.initializers.ones
        weight = nn.relu(_conv(1, 1, "accumulate", kernel_init=ones)(context))[..., 0]
        rows, columns = (
            _doubling(n, m) for n, m in zip(weight.shape[1:], x.shape[1:3], strict=True)
        )
        mask = jnp.einsum("hi,bij,wj->bhw", rows, weight, columns, precision=_EXACT)
        return netvlad.aggregate(local, assignment * mask.reshape(*local.shape[:2], 1), centers)


def _conv(features: int, size: int, name: str, **own) -> nn.Conv:
    own = {"kernel_init": nn.initializers.glorot_normal(), **own}
    return nn.Conv(features, (size, size), padding="SAME", precision=_EXACT, name=name, **own)


def _mean_3x3(x: jax.Array) -> jax.Array:
    """The mean over 3x3 in steps of 2, without padding; a last window holds what is left of the map."""
    counts = [max(1, -(-(n - 3) // 2) + 1) for n in x.shape[1:3]]
    outside = [(0, 2 * (count - 1) + 3 - n) for count, n in zip(counts, x.shape[1:3], strict=True)]
    windows = ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), *outside, (0, 0)))
    total = lax.reduce_window(x, 0.0, lax.add, *windows)
    inside = lax.reduce_window(jnp.ones((1, *x.shape[1:3], 1)), 0.0, lax.add, *windows)
    return total / inside


def _doubling(n: int, m: int) -> np.ndarray:
    """The matrix `(m, n)` of linear interpolation to twice the size, cut or held at the edge for `m`.

    Source: `interpolate(scale_factor=2, mode="bilinear")` of PyTorch.
    """
    at = np.clip((np.arange(m) + 0.5) / 2 - 0.5, 0, n - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(n)), 0).astype(np.float32)


HEAD = Head(
    title="CRN",
    make=lambda section: CRN(section.clusters),
    keys={"clusters": netvlad.clusters(64)},
    trains=True,
    start=ClusterStart("clusters", netvlad.start),
)
