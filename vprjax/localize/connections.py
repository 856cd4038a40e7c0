"""Connections that ask nothing: how long they may stay open, and how many.

uvicorn closes a connection that is silent after an answer. It sets no limit to one that sends no request,
or a request's head byte by byte.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 20  # that a connection may take to send the whole head of its next request
MOST = 256  # connections without a request; one more closes the one that has waited longest


class Idle:
    """A server's connections that have no request to answer, the one that has waited longest first."""

    def __init__(self):
        """Starts without any."""
        self._timers: dict[H11Protocol, asyncio.TimerHandle] = {}

    def add(self, one: H11Protocol) -> None:
        """Lets a connection wait; one that waits already keeps its time."""
        if one in self._timers:
            return
        self._timers[one] = one.loop.call_later(SECONDS, self._close, one)
        if len(self._timers) > MOST:
            self._close(next(iter(self._timers)))

    def remove(self, one: H11Protocol) -> None:
        """Ends the waiting of a connection, if it waits."""
        timer = self._timers.pop(one, None)
        if timer:
            timer.cancel()

    def _close(self, one: H11Protocol) -> None:
        self.remove(one)
        one.transport.close()


class Protocol(H11Protocol):
    """uvicorn's connection; it is idle from its start, and from each answer to the next head."""

    def __init__(self, idle: Idle, *arguments, **options):
        """Takes what uvicorn gives, behind the server's idle connections."""
        super().__init__(*arguments, **options)
        self._idle = idle

    def connection_made(self, transport) -> None:
        """Begins the first wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Ends the wait where the data complete a head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begins the wait for the next head, unless it has come already."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait with the connection."""
        self._idle.remove(self)
        super().connection_lost(exc)

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            self._idle.remove(self)
        else:
            self._idle.add(self)
