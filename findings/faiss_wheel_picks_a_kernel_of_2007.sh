#!/usr/bin/env bash
# The wheel of faiss-cpu 1.15.1 bundles OpenBLAS 0.3.15 of 2021, which picks its kernel by the processor's family. On an
# AMD processor of family 26 (Zen 5) it takes the one of the Barcelona of 2007, without AVX: IndexFlatL2 is three to four
# times as slow as with the same library's AVX-512 kernel (OPENBLAS_CORETYPE=SkylakeX), with the same neighbours, and half as
# fast as with Haswell's. NumPy's own OpenBLAS in the same process knows the processor. Speed-ups over faiss that do not name
# this kernel are off by as much. On other processors the script shows the release alone.
# Seen on 2026-11-30 with numpy 2.4.6 and threadpoolctl 3.6.0:
# "OpenBLAS 0.3.15; family 26: by itself Barcelona, beside NumPy's SkylakeX; SkylakeX at least 2.5 times as fast, same answers".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q faiss-cpu==1.15.1 numpy==2.4.6 threadpoolctl==3.6.0
cat > "$room/search.py" << 'PROGRAM'
import sys
import time

import faiss
import numpy as np
import threadpoolctl

kernel = {
    "faiss" if "faiss" in one["filepath"] else "numpy": (one["version"], one["architecture"])
    for one in threadpoolctl.threadpool_info()
    if one["internal_api"] == "openblas"
}
rng = np.random.default_rng(0)
queries, references = (rng.standard_normal((4096, 1024), dtype=np.float32) for _ in range(2))
index = faiss.IndexFlatL2(1024)
index.add(references)
seconds = []
for _ in range(5):
    start = time.perf_counter()
    found = index.search(queries, 1)[1]
    seconds.append(time.perf_counter() - start)
np.save(sys.argv[1], found)
print(*kernel["faiss"], kernel["numpy"][1], min(seconds))
PROGRAM
read -r version itself numpy slow < <("$room/venv/bin/python" "$room/search.py" "$room/itself.npy")
echo "faiss-cpu 1.15.1: OpenBLAS $version, kernel $itself, NumPy's $numpy, $slow s"
[ "$version" = 0.3.15 ]
if ! grep -q AuthenticAMD /proc/cpuinfo || ! grep -qE '^cpu family\s*: 26$' /proc/cpuinfo; then
    echo "this processor is not of AMD's family 26: its kernel says nothing here"
    exit 0
fi
[ "$itself $numpy" = "Barcelona SkylakeX" ]
read -r _ asked _ fast < <(OPENBLAS_CORETYPE=SkylakeX "$room/venv/bin/python" "$room/search.py" "$room/asked.npy")
echo "kernel $asked: $fast s"
"$room/venv/bin/python" - "$room" "$slow" "$fast" << 'PROGRAM'
import sys

import numpy as np

same = (np.load(f"{sys.argv[1]}/itself.npy") == np.load(f"{sys.argv[1]}/asked.npy")).mean()
ratio = float(sys.argv[2]) / float(sys.argv[3])
print(f"{ratio:.1f} times as fast, {100 * same:.2f} % of the answers the same")
assert same > 0.999 and ratio > 2.5
PROGRAM
