"""SIGTERM, which pods and clusters send before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from vprjax.errors import Preempted
from vprjax.runtime import parallel

AGREE_EVERY = 10  # steps between two exchanges among processes


class Preemption:
    """A context that notes SIGTERM instead of letting it kill the process."""

    def __init__(self):
        """Starts without a signal."""
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
        """A context that SIGTERM ends with `Preempted`, for work that leaves saved files unchanged.

        Among several processes none may stop alone; SIGTERM then waits for `agreed`.
        """
        self._at_once = parallel.process_count() == 1
        try:
            if self._at_once and self._came:
                raise Preempted(_AT_ONCE)
            yield
        finally:
            self._at_once = False

    def agreed(self, step: int, ask: bool = False) -> bool:
        """Whether to stop at this step; every process gets the same answer.

        Several processes exchange it every `AGREE_EVERY` steps, and at each step with `ask`.
        """
        if parallel.process_count() == 1:
            return self._came
        return (ask or step % AGREE_EVERY == 0) and parallel.any_process(self._came)


_AT_ONCE = "SIGTERM"
