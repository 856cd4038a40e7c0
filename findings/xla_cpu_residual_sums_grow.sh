#!/usr/bin/env bash
# XLA's CPU backend (JAX 0.10.2 and 0.12.0.1) computes a residual block's sum again in every later block: it fuses
# `x = relu(x + f(x))` into each later sum, so that block n reads the branches of all n blocks. The arrays that the
# largest fusion reads grow with the depth, and a stage's memory traffic with its square; the result is right.
# jax.lax.optimization_barrier around x ends it with 0.12.0.1 (2 arrays) and changes nothing with 0.10.2. A loop that
# writes x ends it with both. ResNet101 at 480x640 took 1.16 s so and 0.84 s without, the gradient of a DINOv2 ViT-B
# at 322x322 3.07 s and 1.83 s (two cores of an AMD EPYC).
# Seen on 2026-12-01, arrays read with 4, 8 and 16 blocks: "plain 5 9 17; barrier 5 9 17; loop 3 3 3".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat > "$room/blocks.py" << 'PROGRAM'
import re

import jax
import jax.numpy as jnp


def network(weights, x, hold):
    for a, b in weights:
        x = hold(jax.nn.relu(x + jax.nn.relu(x @ a) @ b))
    return x


def looped(x):
    def half(i, done):
        part = jax.lax.dynamic_slice_in_dim(x, i * 600, 600)
        return jax.lax.dynamic_update_slice_in_dim(done, part, i * 600, 0)

    return jax.lax.fori_loop(0, 2, half, jnp.zeros_like(x))


def most_arrays(blocks, hold):
    pair = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((1024, 256), (256, 1024))]
    x = jax.ShapeDtypeStruct((1200, 1024), "float32")
    run = jax.jit(lambda weights, x: network(weights, x, hold))
    text = run.lower([pair] * blocks, x).compile().as_text()
    return max(found.count("%") for found in re.findall(r" fusion\(([^)]*)\)", text))


ways = {"plain": lambda x: x, "barrier": jax.lax.optimization_barrier, "loop": looped}
said = [" ".join([name, *(str(most_arrays(n, hold)) for n in (4, 8, 16))]) for name, hold in ways.items()]
print("; ".join(said))
PROGRAM
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
found=$(JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/blocks.py")
echo "JAX 0.10.2: $found"
[ "$found" = "plain 5 9 17; barrier 5 9 17; loop 3 3 3" ]
