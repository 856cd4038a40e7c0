"""Compiled programs that a long test process holds."""

import pathlib

import jax

MAPS = pathlib.Path("/proc/self/maps")
# Linux gives a process 65,530 by default, and XLA dies at the limit. A program for eight devices takes 30.
MANY = 20_000


def memory_maps() -> int:
    """Number of memory maps of this process; 0 where the system does not tell."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


def drop_beyond(limit: int = MANY):
    """Drops every compiled program where this process has more than `limit` memory maps."""
    if memory_maps() > limit:
        jax.clear_caches()
