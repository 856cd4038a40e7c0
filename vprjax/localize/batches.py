"""One thread that answers the pictures of many requests, several at a time."""

import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable

import numpy as np

SIZE = 8  # pictures that are answered together at most
WAIT = 0.004  # seconds that a picture waits for others


class Batches:
    """Answers pictures in one thread: those that come within `WAIT` go together, `SIZE` at most.

    A picture that comes alone is answered alone: a batch costs several times as much on a CPU. As there are
    two shapes, `warm_up` compiles all there is to compile.
    """

    def __init__(self, answer: Callable[[np.ndarray, int], list]):
        """Starts the thread.

        Args:
          answer: takes pictures `(m, h, w, 3)` and the batch that they are padded to, 1 or `SIZE`; gives
            `m` answers.
        """
        self._answer = answer
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def warm_up(self, image: np.ndarray) -> None:
        """Answers `image` `(h, w, 3)` in both shapes."""
        for size in (1, SIZE):
            self._answer(np.stack([image] * size), size)

    def submit(self, image: np.ndarray) -> concurrent.futures.Future:
        """The future answer to a picture `(h, w, 3)`."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        self._waiting.put((image, future))
        return future

    def close(self) -> None:
        """Answers what waits, then ends the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while taken := self._take():
            # One whose client left is not answered.
            taken = [one for one in taken if one[1].set_running_or_notify_cancel()]
            if taken:
                self._resolve(*zip(*taken, strict=True))

    def _resolve(self, images: tuple, futures: tuple) -> None:
        try:
            size = 1 if len(images) == 1 else SIZE
            answers = self._answer(np.stack(images), size)
            for future, answer in zip(futures, answers, strict=True):
                future.set_result(answer)
        except Exception as error:  # of any kind: each request reports it, and the thread goes on
            for future in futures:
                if not future.done():
                    future.set_exception(error)

    def _take(self) -> list:
        """The next pictures with their futures; none at the end."""
        taken = [self._waiting.get()]
        last = time.monotonic() + WAIT
        while taken[-1] is not None and len(taken) < SIZE:
            try:
                taken.append(self._waiting.get(timeout=max(0.0, last - time.monotonic())))
            except queue.Empty:
                return taken
        if taken[-1] is None:
            taken.pop()
            self._waiting.put(None)  # the end comes after these
        return taken
