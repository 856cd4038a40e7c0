"""Finds builders by their folders, and configs by name or JSON."""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import pathlib
from typing import TYPE_CHECKING

import absl.logging

from tfds_builders.errors import RawDataError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

HERE = pathlib.Path(__file__).parent
KINDS = {str: "a text", int: "a whole number", float: "a number", dict: "texts by name"}


def names() -> list[str]:
    """Builders' names: every folder NAME that holds NAME_dataset_builder.py."""
    return sorted(
        folder.name
        for folder in HERE.iterdir()
        if (folder / f"{folder.name}_dataset_builder.py").is_file()
    )


def builder_class(name: str) -> "type[tfds.core.GeneratorBasedBuilder]":
    """The builder of a name; raises RawDataError with the known names."""
    if name not in names():
        raise RawDataError(f"no builder is called {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder").Builder


def data_dir(option: str | None) -> pathlib.Path:
    """The folder of built datasets: the option, else $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
      RawDataError: it is an address such as gs://bucket.
    """
    folder = option or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in folder:
        raise RawDataError(
            f"{folder} (--data_dir or $TFDS_DATA_DIR) must be a folder: mount the bucket and name it "
            "there"
        )
    return pathlib.Path(folder).expanduser().absolute()


def make(name: str, option: str | None, folder: pathlib.Path) -> "tfds.core.GeneratorBasedBuilder":
    """The builder NAME with the config that `--config` names or gives as JSON.

    Raises:
      RawDataError: unknown builder, config, key or value.
    """
    cls = builder_class(name)
    config = _config(cls, option)
    with quiet():
        return cls(data_dir=os.fspath(folder), config=config, file_format="array_record")


@contextlib.contextmanager
def quiet():
    """Silences TFDS's bars, prints and log lines below errors."""
    import tensorflow_datasets as tfds  # slow to import; the command line's help does without it

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl.logging.set_verbosity(level)


def config_name(option: str) -> str:
    """The name of the config that `--config` names or gives as JSON; raises RawDataError."""
    return _checked_name(parse(option).get("name") if option.lstrip().startswith("{") else option)


def parse(option: str) -> dict:
    """The values of `--config` as JSON; raises RawDataError."""
    try:
        return json.loads(option)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RawDataError(f"--config={option} is not JSON ({error}); quote its keys") from error


def _checked_name(label) -> str:
    if not isinstance(label, str) or not label.replace("_", "").replace("-", "").isalnum():
        raise RawDataError(
            f'--config needs a "name" of letters, digits, _ and - (it names the folder); it is {label!r}'
        )
    return label


def _config(cls, option: str | None):
    if option is None or not option.lstrip().startswith("{"):
        known = [config.name for config in cls.BUILDER_CONFIGS]
        if option is not None and option not in known:
            raise RawDataError(
                f"{cls.name} has no config {option!r}; it has {', '.join(known)}; one of your own is "
                f"""JSON, --config='{{"name": "{option}", ...}}', of the keys in """
                f"tfds_builders/{cls.name}/README.md"
            )
        return option
    config_cls = cls.builder_config_cls
    values = parse(option)
    keys = _defaults(config_cls)
    unknown = sorted(values.keys() - keys.keys())
    if unknown:
        raise RawDataError(
            f"--config has no key {', '.join(unknown)}; {cls.name} knows {', '.join(keys)}"
        )
    for key, value in values.items():
        _check_type(key, value, keys[key])
    label = _checked_name(values.get("name"))
    if label in (config.name for config in cls.BUILDER_CONFIGS):
        raise RawDataError(
            f'--config has the name of the predefined config {label!r}; choose another "name"'
        )
    return config_cls(**values)


def _defaults(config_cls) -> dict[str, object]:
    """The keys that a user may set with their defaults; TFDS's own are None or lists."""
    found = {"name": ""}
    for field in dataclasses.fields(config_cls):
        made = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if made else field.default
        if type(default) in KINDS:
            found[field.name] = default
    return found


def _check_type(key: str, value, default) -> None:
    """Raises RawDataError where a value has another type than the key's default."""
    kind = type(default)
    good = isinstance(value, int | float if kind is float else kind)
    if not good or (kind is dict and not all(isinstance(v, str) for v in value.values())):
        raise RawDataError(f"config key {key!r} is {value!r}; give {KINDS[kind]}")
