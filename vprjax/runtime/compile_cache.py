"""Compiled programs in the workdir: a second start of a run does not compile again."""

import pathlib

import jax

from vprjax.runtime import machine

SECONDS = 0.2  # the cache skips programs that compile faster


def use(workdir: pathlib.Path) -> None:
    """Makes JAX keep compiled programs in `workdir/compiled/KIND` and read them from there.

    A CPU program fits one instruction set, hence one folder per kind of machine. The folder in
    `JAX_COMPILATION_CACHE_DIR` takes precedence. The first compilation makes the folder.

    On CPUs, a moved workdir keeps its programs. JAX before 0.12 hashes a path of XLA's own caches, which
    GPUs alone use, into the names of programs (findings/jax_compile_cache_moves.sh).
    """
    if jax.config.jax_compilation_cache_dir:
        return
    jax.config.update("jax_compilation_cache_dir", str(workdir / "compiled" / machine.kind()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
    if jax.default_backend() == "cpu":
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
