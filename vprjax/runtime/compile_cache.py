"""Compiled programs kept in the workdir, so that a second start of a run need not compile again."""

import pathlib

import jax

from vprjax.runtime import machine

SECONDS = 0.2  # programs that compile faster are not kept


def use(workdir: pathlib.Path) -> None:
    """From now on compiled programs go to `workdir/compiled/KIND` and come from there.

    A program for a CPU fits that CPU's instructions alone, hence one folder a kind of machine. A folder
    that `JAX_COMPILATION_CACHE_DIR` names is used as it is. Nothing is made before the first compilation.
    """
    if jax.config.jax_compilation_cache_dir:
        return
    jax.config.update("jax_compilation_cache_dir", str(workdir / "compiled" / machine.kind()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
