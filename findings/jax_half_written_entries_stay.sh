#!/usr/bin/env bash
# JAX's persistent compilation cache (0.10.2; 0.12.0.1 too) never replaces an entry that a full disk or a kill cut
# short. It writes an entry in place, without a temporary file, and `put` returns where a file of that name exists
# (jax/_src/lru_cache.py). So every later start warns, compiles again and throws the program away, for good.
# Seen on 2026-11-30: "disk full: misses", "room again: misses, 1 warning", "once more: misses, 1 warning",
# "entry removed: misses", "once more: hits".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat > "$room/compile.py" << 'PROGRAM'
import sys
import warnings

import jax
import numpy as np

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
seen = set()
jax.monitoring.register_event_listener(lambda name, **_: seen.add(name.rsplit("/", 1)[1]))


def program(x):
    return jax.lax.tanh(x) @ x.T


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    jax.jit(program)(np.ones((64, 64), np.float32)).block_until_ready()
read = sum("Error reading" in str(warning.message) for warning in said)
result = "hits" if "cache_hits" in seen else "misses"
print(f"{result}, {read} warning" if read else result)
PROGRAM
run() { JAX_PLATFORMS=cpu "$room/venv/bin/python" "$room/compile.py" "$room/cache"; }
found=$(
    echo "disk full: $( (ulimit -f 1; run) )" # no file grows beyond 1,024 bytes, as on a disk without room
    echo "room again: $(run)"
    echo "once more: $(run)"
    rm "$room"/cache/jit_program-*-cache
    echo "entry removed: $(run)"
    echo "once more: $(run)"
)
echo "$found"
[ "$found" = "disk full: misses
room again: misses, 1 warning
once more: misses, 1 warning
entry removed: misses
once more: hits" ]
