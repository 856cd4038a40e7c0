"""Work done ahead in a thread of its own, in order."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any


def prefetch(produce: Callable[[int], Any], first: int, last: int, depth: int = 2) -> Iterator:
    """Yields `(n, produce(n))` for `first <= n < last`, `depth` ahead; an error comes out in its turn.

    What was yielded is not held here, so that it is freed when the caller is done with it.
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
