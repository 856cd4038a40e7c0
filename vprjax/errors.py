"""Errors with a sentence for the user: what is wrong, where, and what to do."""

import contextlib
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """An OSError that names no file, as a write's on a full disk, names `path`."""
    try:
        yield
    except OSError as error:
        if error.filename or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class VprjaxError(Exception):
    """A mistake outside the program; main prints its text and exits with 2."""


class ConfigError(VprjaxError):
    """A config key or value that cannot be used."""


class NoNegatives(ConfigError):
    """Too few images are far enough to be negatives: what every process of several finds alike."""


class DataError(VprjaxError):
    """A dataset or record that is missing or cannot be read."""


class WeightsError(VprjaxError):
    """Pretrained weights or a checkpoint that do not fit the model."""


class Preempted(VprjaxError):
    """SIGTERM came and nothing is lost; main exits with 0."""


class TrainingError(VprjaxError):
    """Training that cannot go on."""
