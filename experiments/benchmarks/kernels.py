"""The OpenBLAS kernel that faiss multiplies with, and the fastest that this processor runs.

The wheel of faiss-cpu bundles OpenBLAS, which picks its kernel by the processor's family when it loads.
A release older than the processor does not know it: 0.3.15, in faiss-cpu 1.15.1, gives an AMD EPYC of
family 26 the kernel of 2007, at a quarter of the speed of AVX-512's. A rival is measured at its best.
"""

import json
import os
import subprocess
import sys

from vprjax.runtime.machine import cpu

NAMES = {"avx2": ("Haswell", "Zen"), "avx512": ("SkylakeX",)}  # by what the processor must have
TOLD = "VPRJAX_FAISS_KERNEL"  # how the restarted process knows what was measured
TRIAL = """
import json, time, faiss, numpy, threadpoolctl
x = numpy.random.default_rng(0).standard_normal((2048, 1024), dtype=numpy.float32)
index = faiss.IndexFlatL2(1024)
index.add(x)
seconds = []
for _ in range(5):
    start = time.perf_counter()
    found = index.search(x, 1)[1]
    seconds.append(time.perf_counter() - start)
assert (found[:, 0] == numpy.arange(2048)).all()
own = [i for i in threadpoolctl.threadpool_info() if "faiss" in i["filepath"] and "architecture" in i]
print(json.dumps([min(seconds), *[(i["architecture"], i["version"]) for i in own]]))
"""


def candidates(processor: str) -> list[str]:
    """Values of `OPENBLAS_CORETYPE` to try, by `machine.cpu`'s name; "" leaves the choice to OpenBLAS."""
    wide = "avx512" in processor or "amx" in processor
    return ["", *NAMES["avx2"], *(NAMES["avx512"] if wide else ())]


def environment(kernel: str) -> dict[str, str]:
    """The environment of this process with a kernel, or as a user has it who sets none."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    return own | ({"OPENBLAS_CORETYPE": kernel} if kernel else {})


def measured(kernel: str) -> tuple[float, str] | None:
    """Seconds of a trial in a process of its own and the kernel's name; None where it fails."""
    words = [sys.executable, "-c", TRIAL]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env=environment(kernel)
    )
    if done.returncode:
        return None
    seconds, *libraries = json.loads(done.stdout.splitlines()[-1])
    return seconds, ", ".join(f"{name} of OpenBLAS {version}" for name, version in libraries)


def restart() -> dict[str, str | float]:
    """Starts this command again with faiss's fastest kernel; what a row says of it, once that runs."""
    if told := os.environ.get(TOLD):
        return json.loads(told)
    found = {kernel: measured(kernel) for kernel in candidates(cpu())}
    found = {kernel: trial for kernel, trial in found.items() if trial}
    if "" not in found:
        return {}
    best = min(found, key=lambda kernel: found[kernel][0])
    told = {
        "rival_kernel": found[best][1] or "unknown",
        "rival_by_itself": found[""][1] or "unknown",
    }
    told["by_itself_slower"] = round(found[""][0] / found[best][0], 2)
    sys.stdout.flush()
    own = environment(best) | {TOLD: json.dumps(told)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], own)
