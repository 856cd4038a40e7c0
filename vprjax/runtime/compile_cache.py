"""Compiled programs in the workdir: a second start of a run does not compile again."""

import contextlib
import pathlib
import zlib

import jax

from vprjax.runtime import machine

SECONDS = 0.2  # the cache skips programs that compile faster
ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how its streams begin (RFC 8878)


def use(workdir: pathlib.Path) -> None:
    """Makes JAX keep compiled programs in `workdir/compiled/KIND` and read them from there.

    A CPU program fits one instruction set, hence one folder per kind of machine. The folder in
    `JAX_COMPILATION_CACHE_DIR` takes precedence. The first compilation makes the folder.

    On CPUs, a moved workdir keeps its programs. JAX before 0.12 hashes a path of XLA's own caches, which
    GPUs alone use, into the names of programs (findings/jax_compile_cache_moves.sh).

    A program that a full disk or a kill cut short is removed: JAX would compile it at every start and
    never write it again (findings/jax_half_written_entries_stay.sh).
    """
    if jax.config.jax_compilation_cache_dir:
        return
    folder = workdir / "compiled" / machine.kind()
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process of the run removes it
            if _is_cut(path.read_bytes()):
                path.unlink()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
    if jax.default_backend() == "cpu":
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _is_cut(entry: bytes) -> bool:
    """Whether an entry is no whole stream of zlib's; zstandard's, where that is installed, pass."""
    if entry.startswith(ZSTANDARD):
        return False
    try:
        zlib.decompress(entry)
    except zlib.error:
        return True
    return False
