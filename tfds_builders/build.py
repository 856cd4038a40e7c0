"""`build` checks the raw data, builds the dataset and leaves nothing half-written."""

import contextlib
import fcntl
import json
import pathlib
import shutil
import sys

import tensorflow_datasets as tfds

from tfds_builders import discover
from tfds_builders.builder import LATER, PlacesBuilder, config_values, work_dir
from tfds_builders.errors import RawDataError


def run(args) -> int:
    """Builds NAME unless it exists; returns the exit status."""
    builder = discover.make(args.name, args.config, discover.data_dir(args.data_dir))
    if builder.data_path.exists():
        _check_same(builder, args.manual_dir)
        where = builder.data_path
        print(f"{builder.info.full_name} is already built in {where}; delete that to build it anew")
        return 0
    manual_dir = check_manual_dir(builder, args.manual_dir)
    with _only_build(builder):
        try:
            with discover.quiet():
                builder.download_and_prepare(
                    download_dir=work_dir(builder) / "downloads",
                    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
                )
        except RuntimeError as error:  # array_record's writer raises it on a full disk
            first = str(error).partition("\n")[0]
            raise OSError(f"{builder.info.full_name} cannot be written ({first})") from error
    for warning in builder.info.metadata.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    counts = ", ".join(f"{name} {s.num_examples}" for name, s in builder.info.splits.items())
    print(f"{builder.info.full_name} is built in {builder.data_path}: {counts}")
    return 0


def check_manual_dir(builder, option: str | None) -> pathlib.Path | None:
    """The raw folder of `--manual_dir`, or None for a builder without raw data.

    Raises:
      RawDataError: the option is missing, names no folder or an empty one.
    """
    if not isinstance(builder, PlacesBuilder):
        return None
    if option is None:
        raise RawDataError(
            f"--manual_dir is missing; {builder.name} reads raw data: "
            f"{builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    folder = pathlib.Path(option).expanduser().absolute()
    if not folder.is_dir():
        raise RawDataError(
            f"--manual_dir={option} is not a folder; give the folder of the raw data"
        )
    if not any(folder.iterdir()):
        raise RawDataError(
            f"--manual_dir={option} is empty; {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    return folder


def _check_same(builder, manual_dir: str | None) -> None:
    """Raises RawDataError where the built dataset has other config values or other raw data."""
    saved = json.loads((builder.data_path / "metadata.json").read_text())
    if "config" not in saved:  # an earlier version rendered this town
        return
    remedy = f'delete {builder.data_path} or give the config another "name"'
    now = config_values(builder.builder_config)
    for key in {**now, **saved["config"]}:
        was, value = (values.get(key, LATER.get(key)) for values in (saved["config"], now))
        if was != value:
            raise RawDataError(
                f"{builder.info.full_name} is already built with {key} {was!r}, not {value!r}; {remedy}"
            )
    if manual_dir is None or not isinstance(builder, PlacesBuilder):
        return
    folder = pathlib.Path(manual_dir).expanduser()
    if folder.is_dir():
        for name, state in builder.raw_state(folder).items():
            if saved["raw"].get(name) != state:
                raise RawDataError(
                    f"{builder.info.full_name} was built from another {name}; {remedy}"
                )


@contextlib.contextmanager
def _only_build(builder):
    """Holds the work folder's lock, and removes what a killed build leaves behind.

    Finished chunks survive a kill and an interrupt; an error in the raw data removes them.
    """
    name = builder.info.full_name
    work = work_dir(builder)
    made = _missing_parents(work)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RawDataError(f"{name} is being built by another process; wait for it") from error
        for stale in work.parent.glob(f"incomplete.*_{builder.data_path.name}"):
            shutil.rmtree(stale)
        try:
            yield
        except RawDataError:
            shutil.rmtree(work)
            _remove_empty(made)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _missing_parents(path: pathlib.Path) -> list[pathlib.Path]:
    """Parent folders that do not exist yet, innermost first."""
    return [parent for parent in path.parents if not parent.exists()]


def _remove_empty(folders: list[pathlib.Path]) -> None:
    """Removes the folders that hold at most TFDS's note of the default config."""
    for folder in folders:
        if {entry.name for entry in folder.iterdir()} <= {".config"}:
            shutil.rmtree(folder)
