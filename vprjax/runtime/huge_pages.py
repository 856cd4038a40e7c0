"""Large pages for the memory of compiled programs on Linux.

XLA's CPU backend asks the C library for a program's memory anew at every call, and the kernel clears it
page by page. A training step of ResNet50 on eight images of 224x224 needs 950 MiB, or 257,000 pages of
4 KiB: that was a sixth of its processor time, and a thirtieth with pages of 2 MiB.
"""

import os
import pathlib
import sys
from collections.abc import Mapping

MODE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
TUNABLES = "GLIBC_TUNABLES"
_OURS = "glibc.malloc.hugetlb"  # of glibc 2.35; earlier ones and other C libraries ignore it


def environment(environ: Mapping[str, str], mode: str) -> dict[str, str] | None:
    """The environment in which the C library asks for large pages; None where nothing is to change.

    `mode` is the content of `MODE`. In the mode "madvise" the kernel gives large pages on request alone. A
    user's own setting stays.
    """
    tunables = environ.get(TUNABLES, "")
    if "[madvise]" not in mode or _OURS in tunables:
        return None
    return {**environ, TUNABLES: ":".join(filter(None, (tunables, f"{_OURS}=1")))}


def restart(mode: pathlib.Path = MODE) -> None:
    """Starts this process's command again with large pages, under the same process id, where that helps.

    The C library reads its environment at its start alone. Call it ahead of imports that take time.
    """
    try:
        found = environment(os.environ, mode.read_text())
    except OSError:  # not Linux, or a kernel without large pages
        return
    if found is not None and sys.executable:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], found)
