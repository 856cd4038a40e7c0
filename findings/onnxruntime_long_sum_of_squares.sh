#!/usr/bin/env bash
# onnxruntime 1.32.0 adds squares of a long row one after the other in float32, on CPUs: LpNormalization and ReduceL2 of
# 131,072 numbers, a NetVLAD descriptor, give lengths that are off by 1e-5, while its ReduceSum of the same squares and
# NumPy's sum stay below 1e-6 of the length. So an exported model that normalises by these operations differs from its
# source by more than float32's rounding, and distances between its descriptors are scaled.
# Seen on 2026-11-30 with onnx 1.23.2 and numpy 2.4.6:
# "LpNormalization 1e-05, ReduceL2 1e-05, ReduceSumSquare 1e-05, ReduceSum below 1e-06, NumPy below 1e-06".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$room/lengths.py" << 'PROGRAM'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x = np.random.default_rng(0).standard_normal((4, 131_072)).astype(np.float32)
length = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1, keepdims=True))


def run(kind, given):
    shape = ["b", given.shape[1]]
    x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y_info = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    axes = [] if kind == "LpNormalization" else [helper.make_tensor("axes", TensorProto.INT64, [1], [1])]
    names = ["x", *(one.name for one in axes)]
    options = {"keepdims": 1} if axes else {"axis": 1}
    node = helper.make_node(kind, names, ["y"], **options)
    graph = helper.make_graph([node], "one", [x_info], [y_info], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": given})[0].astype(np.float64)


lengths = {
    "LpNormalization": length / np.linalg.norm(run("LpNormalization", x), axis=1, keepdims=True),
    "ReduceL2": run("ReduceL2", x),
    "ReduceSumSquare": np.sqrt(run("ReduceSumSquare", x)),
    "ReduceSum": np.sqrt(run("ReduceSum", x**2)),
    "NumPy": np.sqrt((x**2).sum(axis=1, keepdims=True)),
}
said = []
for name, found in lengths.items():
    worst = abs(found / length - 1).max()
    said.append(f"{name} {'below 1e-06' if worst < 1e-6 else f'{worst:.0e}'}")
print(", ".join(said))
PROGRAM
found=$("$room/venv/bin/python" "$room/lengths.py")
echo "onnxruntime 1.32.0: $found"
[ "$found" = "LpNormalization 1e-05, ReduceL2 1e-05, ReduceSumSquare 1e-05, ReduceSum below 1e-06, NumPy below 1e-06" ]
