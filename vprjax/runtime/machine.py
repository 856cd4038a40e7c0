"""The processor: a name for records and a kind for compiled programs."""

import hashlib
import os
import pathlib
import platform

VECTORS = "amx_tile", "avx512_bf16", "avx512f", "avx2"  # widest first, as Linux names them
INFO = pathlib.Path("/proc/cpuinfo")


def cpu(info: pathlib.Path = INFO) -> str:
    """Model, widest vector instructions and usable cores; one model name covers many speeds."""
    facts = _last_processor(info)
    model = facts.get("model name") or platform.processor() or platform.machine()
    flags = facts.get("flags", "").split()
    wide = [name for name in VECTORS if name in flags][:1]
    return ", ".join([model, *wide, f"{cores()} core{'s' if cores() > 1 else ''}"])


def cores() -> int:
    """Number of cores that this process may use; all of them where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kind(info: pathlib.Path = INFO) -> str:
    """A short digest of the architecture and its instruction set; a compiled program fits one kind."""
    facts = _last_processor(info)
    flags = facts.get("flags") or facts.get("Features", "")  # names on x86 and on ARM
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


def _last_processor(info: pathlib.Path) -> dict[str, str]:
    """Linux's facts on the last processor; empty without the file."""
    lines = info.read_text().splitlines() if info.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
