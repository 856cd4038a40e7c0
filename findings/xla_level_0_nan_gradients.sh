#!/usr/bin/env bash
# XLA's flag xla_backend_optimization_level=0, which makes CPU programs compile faster and is taken for tests,
# changes numbers: with JAX 0.10.2 the gradients of a convolution, ReLU and L2-normalised maxima over regions of
# its map (R-MAC) hold NaN, where the usual level gives finite ones. The forward pass is finite at both. The
# same heads without the convolution show nothing.
# Seen on 2026-11-29 on x86-64 with AVX-512: "usual level finite, level 0 NaN".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$room/gradients.py" << 'PROGRAM'
import jax
import jax.numpy as jnp
import numpy as np

rng = np.random.default_rng(0)
images = jnp.asarray((rng.integers(0, 256, (8, 33, 41, 3)) - 120) / 60, jnp.float32)
kernel = jnp.asarray(rng.normal(size=(7, 7, 3, 64)) * np.sqrt(2 / 147), jnp.float32)
scale = jnp.asarray(rng.uniform(0.5, 1.2, 64), jnp.float32)
bias = jnp.asarray(rng.normal(size=64) * 0.1, jnp.float32)
mean = jnp.asarray(rng.normal(size=64) * 0.1, jnp.float32)
variance = jnp.asarray(rng.uniform(0.5, 1.2, 64), jnp.float32)
regions = [(0, 0, 17, 21), (0, 0, 17, 17), (0, 4, 17, 17)]
regions += [(i, j, 11, 11) for i in (0, 6) for j in (0, 5, 10)]
regions += [(i, j, 8, 8) for i in (0, 4, 9) for j in (0, 4, 8, 13)]


def total(kernel, scale, bias, images):
    folded = scale * jax.lax.rsqrt(variance + 1e-5)
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        images, kernel * folded, (2, 2), [(3, 3)] * 2, dimension_numbers=layout
    )
    y = jax.nn.relu(y + (bias - mean * folded))
    v = jnp.stack([jnp.max(y[:, i : i + h, j : j + w], axis=(1, 2)) for i, j, h, w in regions], 1)
    v = v / (jnp.sqrt(jnp.sum(v * v, axis=-1, keepdims=True)) + 1e-6)
    s = v.sum(1)
    return (s / jnp.linalg.norm(s, axis=-1, keepdims=True))[:, ::3].sum()


arguments = kernel, scale, bias, images
lowered = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2))).lower(*arguments)
said = []
for name, options in (("usual level", {}), ("level 0", {"xla_backend_optimization_level": 0})):
    value, gradients = lowered.compile(compiler_options=options)(*arguments)
    assert np.isfinite(value)
    finite = all(bool(np.isfinite(g).all()) for g in gradients)
    said.append(f"{name} {'finite' if finite else 'NaN'}")
print(", ".join(said))
PROGRAM
found=$(JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/gradients.py")
echo "JAX 0.10.2: $found"
[ "$found" = "usual level finite, level 0 NaN" ]
