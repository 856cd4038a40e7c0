"""The processor: its name for records, and its kind, which a compiled program fits alone."""

import hashlib
import os
import pathlib
import platform

VECTORS = "amx_tile", "avx512_bf16", "avx512f", "avx2"  # widest first, as Linux names them
INFO = pathlib.Path("/proc/cpuinfo")


def cpu(info: pathlib.Path = INFO) -> str:
    """Model, widest vector instructions (one model name stands for many speeds) and usable cores."""
    told = _told(info)
    model = told.get("model name") or platform.processor() or platform.machine()
    flags = told.get("flags", "").split()
    wide = [name for name in VECTORS if name in flags][:1]
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return ", ".join([model, *wide, f"{len(usable)} core{'s' if len(usable) > 1 else ''}"])


def kind(info: pathlib.Path = INFO) -> str:
    """A short digest of the architecture and its instructions."""
    told = _told(info)
    flags = told.get("flags") or told.get("Features", "")  # as x86 and ARM call them
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


def _told(info: pathlib.Path) -> dict[str, str]:
    """What Linux says of the last processor; nothing where it says nothing."""
    lines = info.read_text().splitlines() if info.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
