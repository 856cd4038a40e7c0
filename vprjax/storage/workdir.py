"""The folder of a run: all processes share it, and one run holds it at a time."""

import contextlib
import fcntl
import pathlib
import secrets
from collections.abc import Iterator

from vprjax.errors import ConfigError
from vprjax.runtime import compile_cache, parallel


def make_workdir(workdir: pathlib.Path) -> None:
    """Makes the folder if it is missing and keeps compiled programs there.

    Raises:
      ConfigError: the folder cannot be made.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--workdir={workdir} cannot be made ({error}); name another") from error
    compile_cache.use(workdir)  # last: an earlier compilation makes a workdir for a refused run


def _check_shared(workdir: pathlib.Path) -> None:
    """Raises ConfigError unless all processes see the same folder."""
    if parallel.process_count() == 1:
        return
    mark = workdir / f".seen-by-all-{parallel.from_first(secrets.randbits(31))}.partial"
    if parallel.is_primary():
        mark.touch()
    parallel.barrier("marked")
    apart = parallel.any_process(not mark.exists())
    if parallel.is_primary():
        mark.unlink()
    if apart:
        raise ConfigError(
            f"--workdir={workdir} is not one folder for all {parallel.process_count()} processes: name one "
            "on storage that they share"
        )


@contextlib.contextmanager
def hold_workdir(workdir: pathlib.Path) -> Iterator[None]:
    """A context that holds the workdir's lock and removes the parts that a killed run left.

    The lock ends with the process, however that ends.

    Raises:
      ConfigError: another run holds the folder, it is not writable, or the processes do not share it.
    """
    try:
        lock = (workdir / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"--workdir={workdir} cannot be written to ({error.strerror}); name another"
        ) from error
    with lock:
        _check_shared(workdir)
        if parallel.is_primary():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"--workdir={workdir} is in use by another run; wait for it or name another"
                ) from error
            for part in workdir.rglob(".*.partial*"):
                part.unlink()
        yield
