#!/usr/bin/env bash
# JAX 0.10.2 (the last for Python 3.11) finds nothing in its persistent compilation cache after the folder has
# moved, on a CPU too: the cache's key hashes a path below the folder
# (jax/_src/compiler.py: xla_gpu_per_fusion_autotune_cache_dir). Every program compiles again.
# jax_persistent_cache_enable_xla_caches="none" makes the same move hit; JAX 0.12.0 hits without it.
# Seen on 2026-11-29: "fresh misses", "again hits", "moved misses", "moved without XLA's caches hits".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat > "$room/compile.py" << 'PROGRAM'
import sys

import jax
import jax.numpy as jnp

seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event.rpartition("_")[2]))
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
if len(sys.argv) > 2:
    jax.config.update("jax_persistent_cache_enable_xla_caches", sys.argv[2])
jax.jit(lambda x: jnp.sin(x @ x).sum())(jnp.ones((64, 64))).block_until_ready()
print("hits" if "hits" in seen and "misses" not in seen else "misses")
PROGRAM
export JAX_PLATFORMS=cpu
run() { "$room/venv/bin/python" "$room/compile.py" "$@"; }
found="fresh $(run "$room/a"), again $(run "$room/a")"
mv "$room/a" "$room/b"
found+=", moved $(run "$room/b")"
run "$room/c" none > /dev/null
mv "$room/c" "$room/d"
found+=", moved without XLA's caches $(run "$room/d" none)"
echo "JAX 0.10.2: $found"
[ "$found" = "fresh misses, again hits, moved misses, moved without XLA's caches hits" ]
