#!/usr/bin/env bash
# jax2onnx 0.17.1 writes a mean of booleans (jnp.mean(x > 0, dtype=jnp.float32), CroW's share of positions) as an
# ONNX Sum of tensor(bool), without a word; onnxruntime refuses to load the file. The same share as a mean of
# jnp.where(x > 0, 1.0, 0.0) loads and gives JAX's numbers.
# Seen on 2026-11-29 with jax 0.10.2, onnx 1.23.2 and onnxruntime 1.32.0: "booleans INVALID_GRAPH, numbers equal".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax2onnx==0.17.1 jax==0.10.2 jaxlib==0.10.2 onnx==1.23.2 onnxruntime==1.32.0
cat > "$room/share.py" << 'PROGRAM'
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

ways = {
    "booleans": lambda x: jnp.mean(x > 0, axis=1, dtype=jnp.float32),
    "numbers": lambda x: jnp.mean(jnp.where(x > 0, 1.0, 0.0), axis=1),
}
x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
said = []
for name, share in ways.items():
    file = f"{sys.argv[1]}/{name}.onnx"
    with open(file, "wb") as f:
        f.write(to_onnx(share, [jax.ShapeDtypeStruct(x.shape, x.dtype)]).SerializeToString())
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:
        said.append(f"{name} {'INVALID_GRAPH' if 'INVALID_GRAPH' in str(error) else error}")
        continue
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    said.append(f"{name} {'equal' if np.allclose(got, share(x)) else 'unequal'}")
print(", ".join(said))
PROGRAM
found=$(JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/share.py" "$room" 2> "$room/log" | tail -n 1)
echo "jax2onnx 0.17.1: $found"
[ "$found" = "booleans INVALID_GRAPH, numbers equal" ]
