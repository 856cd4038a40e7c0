#!/usr/bin/env bash
# torch.nn.functional.interpolate(mode="bicubic") has two cubic kernels: a = -0.75 without antialias and a = -0.5
# with it, so that enlarging, where antialias filters nothing, gives other numbers. DINOv2's position table is
# resized without it by the plain models and with it by those with registers: one port does not fit both.
# Seen on 2026-11-29 with torch 2.13.0 (CPU): "plain -0.75, antialiased -0.5, difference 0.0366" of a step.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cat > "$room/kernels.py" << 'PROGRAM'
import numpy as np
import torch
import torch.nn.functional as F

step = torch.zeros(1, 1, 1, 16, dtype=torch.float64)
step[..., 8:] = 1  # enlarged four times: nothing to filter


def cubic(x, a):
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0


def expected(a):
    out = []
    for i in range(64):
        at = (i + 0.5) / 4 - 0.5
        near = np.floor(at).astype(int) + np.arange(-1, 3)
        out.append(sum(cubic(at - n, a) * float(step[0, 0, 0, np.clip(n, 0, 15)]) for n in near))
    return np.array(out)


found = {}
for antialias in (False, True):
    got = F.interpolate(step, size=(1, 64), mode="bicubic", antialias=antialias)[0, 0, 0].numpy()
    inside = slice(12, 52)  # away from the borders, which the two treat otherwise too
    (a,) = (a for a in (-0.75, -0.5) if np.allclose(got[inside], expected(a)[inside], atol=1e-6))
    found[antialias] = a, got[inside]
gap = np.abs(found[True][1] - found[False][1]).max()
print(f"plain {found[False][0]}, antialiased {found[True][0]}, difference {gap:.4f}")
PROGRAM
found=$("$room/venv/bin/python" "$room/kernels.py")
echo "torch 2.13.0: $found"
[[ "$found" == "plain -0.75, antialiased -0.5, difference 0."* ]]
