"""A thread that works ahead, in order."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any


def prefetch(produce: Callable[[int], Any], first: int, last: int, depth: int = 2) -> Iterator:
    """Yields `(n, produce(n))` for `first <= n < last`, computed `depth` ahead in a thread.

    An error of `produce(n)` is raised at `n`. A yielded value has no reference here, so that the caller
    frees it.
    """
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        waiting = [pool.submit(produce, n) for n in range(first, min(first + depth, last))]
        try:
            for n in range(first, last):
                if n + depth < last:
                    waiting.append(pool.submit(produce, n + depth))
                yield n, waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
