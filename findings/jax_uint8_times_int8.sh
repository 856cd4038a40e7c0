#!/usr/bin/env bash
# jax.lax.dot_general (JAX 0.10.2 and 0.12.0.1) turns uint8 and int8 into int32 before it multiplies them, with
# preferred_element_type=int32 too; two int8 operands stay as they are, and StableHLO's own dot_general takes the
# mixed pair. uint8 times int8 is the product that processors with VNNI have, so quantised code that mixes them,
# as PyTorch's and onnxruntime's does, gets four times the bytes and none of the speed, without a word.
# Seen on 2026-11-29: "int8 int8 i8 i8, uint8 int8 i32 i32".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat > "$room/products.py" << 'PROGRAM'
import re

import jax
import jax.numpy as jnp


def dot(a, b):
    return jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)


said = []
for types in (("int8", "int8"), ("uint8", "int8")):
    a, b = (jax.ShapeDtypeStruct((64, 512), t) for t in types)
    text = jax.jit(dot).lower(a, b).as_text()
    product = next(line for line in text.splitlines() if "dot_general" in line)
    operands = re.findall(r"x(u?i\d+)>", product.split(" : ")[1])[:2]
    said.append(" ".join([*types, *operands]))
print(", ".join(said))
PROGRAM
found=$(JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/products.py")
echo "JAX 0.10.2: $found"
[ "$found" = "int8 int8 i8 i8, uint8 int8 i32 i32" ]
