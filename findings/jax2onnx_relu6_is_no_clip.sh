#!/usr/bin/env bash
# jax2onnx 0.17.1 writes jax.nn.relu6 as an ONNX Max and a Min. onnxruntime puts a Clip into the convolution before it
# and leaves Max and Min as nodes of their own, so that layers as MobileNet's run slower than in the same file with
# each pair as a Clip, which gives the same numbers to the bit.
# Seen on 2026-11-30 with jax 0.10.2, onnx 1.23.2 and onnxruntime 1.32.0: "12 Max 12 Min 12 Conv become 12 Max 12 Min
# 12 Conv, 12 Clip 12 Conv become 1 Clip 12 Conv". In five runs on a busy AMD EPYC with AVX-512, one thread, Max and
# Min took 1.1 to 1.9 times as long as Clip.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax2onnx==0.17.1 jax==0.10.2 jaxlib==0.10.2 onnx==1.23.2 onnxruntime==1.32.0
cat > "$room/relu6.py" << 'PROGRAM'
import collections
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from jax import lax
from jax2onnx import to_onnx

rng = np.random.default_rng(0)
wide = rng.normal(0, 0.3, (6, 3, 3, 1, 96)).astype(np.float32)
flat = rng.normal(0, 0.1, (6, 1, 1, 96, 96)).astype(np.float32)
x = rng.normal(size=(1, 56, 56, 96)).astype(np.float32)


def layers(x):
    """Six pairs of a depthwise and a pointwise convolution, each under ReLU6, as in MobileNetV2."""
    for pair in zip(wide, flat, strict=True):
        for w, groups in zip(pair, (96, 1), strict=True):
            x = lax.conv_general_dilated(
                x, w, (1, 1), "SAME", None, None, ("NHWC", "HWIO", "NHWC"), groups
            )
            x = jax.nn.relu6(x)
    return x


def counted(nodes):
    kinds = collections.Counter(node.op_type for node in nodes)
    return " ".join(f"{kinds[k]} {k}" for k in ("Max", "Min", "Clip", "Conv", "FusedConv") if kinds[k])


def ran(model):
    """Kinds of nodes after onnxruntime's optimisation, and the session."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{sys.argv[1]}/optimised.onnx"
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return counted(onnx.load(options.optimized_model_filepath).graph.node), session


plain = to_onnx(layers, [jax.ShapeDtypeStruct(x.shape, x.dtype)])
clipped = onnx.ModelProto.FromString(plain.SerializeToString())
nodes = clipped.graph.node
for node in [n for n in nodes if n.op_type == "Min"]:
    (before,) = (n for n in nodes if n.op_type == "Max" and n.output[0] == node.input[0])
    node.op_type = "Clip"
    node.input[:] = [*before.input, node.input[1]]
    nodes.remove(before)
said, sessions = [], []
for model in (plain, clipped):
    kinds, session = ran(model)
    said.append(f"{counted(model.graph.node)} become {kinds}")
    sessions.append(session)
outs = [s.run(None, {s.get_inputs()[0].name: x})[0] for s in sessions]
assert np.array_equal(*outs) and np.allclose(outs[0], layers(x), atol=1e-3)
seconds = np.zeros((30, 2))
for row in seconds:
    for column, s in enumerate(sessions):
        start = time.perf_counter()
        s.run(None, {s.get_inputs()[0].name: x})
        row[column] = time.perf_counter() - start
least = 1e3 * seconds.min(axis=0)
print("ms: Max and Min {:.1f}, Clip {:.1f}".format(*least), file=sys.stderr)
print(", ".join(said))
PROGRAM
found=$(JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/relu6.py" "$room" 2> "$room/log" | tail -n 1)
grep "^ms: " "$room/log"
echo "jax2onnx 0.17.1: $found"
[ "$found" = "12 Max 12 Min 12 Conv become 12 Max 12 Min 12 Conv, 12 Clip 12 Conv become 1 Clip 12 Conv" ]
