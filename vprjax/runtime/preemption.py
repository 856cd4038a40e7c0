"""SIGTERM, as pods and clusters send it before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from vprjax.errors import Preempted
from vprjax.runtime import parallel

AGREE_EVERY = 10  # steps between two questions to the other processes


class Preemption:
    """A context in which SIGTERM is noted instead of killing the process."""

    def __init__(self):
        """Nothing has come yet."""
        self._came = self._at_once = False
        self._before = None

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_) -> None:
        self._came = True
        if self._at_once:
            raise Preempted(_AT_ONCE)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A context that SIGTERM ends with `Preempted`, for work that changes nothing that is saved.

        With several processes none may leave alone, so there it waits for `agreed`.
        """
        self._at_once = parallel.process_count() == 1
        try:
            if self._at_once and self._came:
                raise Preempted(_AT_ONCE)
            yield
        finally:
            self._at_once = False

    def agreed(self, step: int, ask: bool = False) -> bool:
        """Whether to stop at this step; the same answer in every process.

        Of several, the others are asked every few steps alone, or where to `ask` is said.
        """
        if parallel.process_count() == 1:
            return self._came
        return (ask or step % AGREE_EVERY == 0) and parallel.any_process(self._came)


_AT_ONCE = "SIGTERM"
