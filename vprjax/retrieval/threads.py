"""The host's threads, which rank and encode: NumPy lets go of the interpreter within its loops."""

import concurrent.futures
import functools
from collections.abc import Callable, Iterable

from vprjax.runtime.machine import cores


def on_threads(run: Callable, items: Iterable) -> list:
    """`[run(item) for item in items]` on a thread per core that this process may use, in order."""
    items = list(items)
    return [run(item) for item in items] if len(items) < 2 else list(_pool().map(run, items))


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(cores(), thread_name_prefix="search")
