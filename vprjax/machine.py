"""The processor that figures were measured on, for records."""

import os
import pathlib
import platform

VECTORS = "amx_tile", "avx512_bf16", "avx512f", "avx2"  # widest first, as Linux names them


def cpu(info: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> str:
    """Model, widest vector instructions (one model name stands for many speeds) and usable cores."""
    lines = info.read_text().splitlines() if info.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = told.get("model name") or platform.processor() or platform.machine()
    flags = told.get("flags", "").split()
    wide = [name for name in VECTORS if name in flags][:1]
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return ", ".join([model, *wide, f"{len(usable)} core{'s' if len(usable) > 1 else ''}"])
