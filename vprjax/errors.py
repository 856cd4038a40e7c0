"""Errors whose message tells the user what is wrong, where, and what to do."""

import contextlib
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """A context that adds `path` to an OSError without a file name, such as a full disk's."""
    try:
        yield
    except OSError as error:
        if error.filename or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class VprjaxError(Exception):
    """A mistake outside the program; `main` prints the message and exits with status 2."""


class ConfigError(VprjaxError):
    """The config holds a key or value that vprjax cannot use."""


class NoNegatives(ConfigError):
    """Too few images lie far enough away to be negatives; every process finds the same."""


class DataError(VprjaxError):
    """A dataset or record is missing or unreadable."""


class WeightsError(VprjaxError):
    """Pretrained weights or a checkpoint are damaged or do not fit the model."""


class ExportError(VprjaxError):
    """An exported file does not compute what its model computes, or cannot be made."""


class Preempted(VprjaxError):
    """SIGTERM ended the run without loss; `main` exits with status 0."""


class TrainingError(VprjaxError):
    """Training cannot go on."""
