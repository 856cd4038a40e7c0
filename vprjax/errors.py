"""Errors with a sentence for the user: what is wrong, where, and what to do."""


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
