"""Checkpoints on disk; the only file that imports orbax."""

import contextlib
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from vprjax.console import log
from vprjax.errors import ConfigError, TrainingError, WeightsError
from vprjax.storage import checksum
from vprjax.storage.atomic import write_atomically

# Keys of the config item:
DIGESTS = "sha256"  # digests of the other items' arrays
NAMES = "names"  # paths of the training item's arrays


class Checkpoints:
    """The checkpoints of one run: the untrained model (step 0), the best and the latest few.

    A checkpoint has three items: `model` (what evaluation needs), `training` (what resuming needs besides)
    and `config` (JSON with its checksum and the SHA-256 of the other two). It takes its final name once
    it is whole, and every read verifies the checksums.
    """

    def __init__(self, folder: str | pathlib.Path, keep: int = 3, read_only: bool = False):
        """Opens `folder`, and makes it unless `read_only`; pruning keeps the latest `keep`."""
        self.folder = pathlib.Path(folder).absolute()
        self._keep = keep
        _leave_out_closed_loops()
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                self._remove_parts("*")  # a killed save leaves its parts behind
        own = jax.process_index()  # The first process writes; each process reads for itself.
        self._manager = ocp.CheckpointManager(
            self.folder,
            item_handlers={
                "model": ocp.StandardCheckpointHandler(),
                "training": ocp.StandardCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                enable_async_checkpointing=False,
                save_interval_steps=0 if read_only else 1,
                create=False,  # orbax makes no folder for a single process among several
                read_only=read_only,
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"p{own}"
                ),
            ),
        )

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, in ascending order."""
        return sorted(self._manager.all_steps())

    def save(
        self, step: int, model: Any, training: Any, config: dict, best: int | None = None
    ) -> None:
        """Writes one checkpoint, then prunes; `model` and `training` are trees of arrays.

        Raises:
          TrainingError: the checkpoint cannot be written; nothing of it remains.
        """
        digests = {"model": checksum.of_arrays(model), "training": checksum.of_arrays(training)}
        sealed = {**config, DIGESTS: digests, NAMES: _names(training)}
        args = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            training=ocp.args.StandardSave(training),
            config=ocp.args.JsonSave(checksum.seal(sealed)),
        )
        whole = self.folder / str(step)
        try:
            self._manager.save(step, args=args)
            self._manager.wait_until_finished()
        except Exception as error:
            shutil.rmtree(whole, ignore_errors=True)
            self._remove_parts(step)
            raise self._unwritten(step, error, "the checkpoint before") from error
        self.prune(best)

    def amend(self, step: int, changes: dict) -> None:
        """Replaces keys of the `config` item at `step`; a kill leaves all of them old or all new.

        Raises:
          TrainingError: the item cannot be written; the checkpoint stays as it is.
        """
        file = self.folder / str(step) / "config" / "metadata"  # orbax's name of the JSON file
        try:
            write_atomically(file, json.dumps(checksum.seal({**self._sealed(step), **changes})))
        except OSError as error:
            raise self._unwritten(step, error, "it") from error

    def _unwritten(self, step: int, error: Exception, start: str) -> TrainingError:
        first = (str(error).splitlines() or ["no message"])[0]
        return TrainingError(
            f"checkpoint {self.folder / str(step)} cannot be written ({type(error).__name__}: {first}); "
            f"free disk space or mend the cause, and run the same command again: it resumes from {start}"
        )

    def prune(self, best: int | None) -> None:
        """Removes all but steps 0, `best` and the latest few; only the first process does so.

        Every save prunes, but a kill may come in between. The next prune retries what cannot be removed.
        """
        steps = self.steps()
        for step in steps[: -self._keep] if jax.process_index() == 0 else ():
            if step not in (0, best):
                try:
                    self._manager.delete(step)
                except OSError as error:
                    log(
                        f"warning: old checkpoint {self.folder / str(step)} cannot be removed ({error})"
                    )

    def _remove_parts(self, step: int | str) -> None:
        for part in self.folder.glob(f"{step}.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)

    def restore_model(self, step: int) -> dict:
        """The model's variables at `step`, as nested dicts of NumPy arrays.

        Raises:
          WeightsError: the checkpoint is missing or damaged; the message names it.
        """
        with self._naming(step):
            return self._restore(step, "model", self._manager.item_metadata(step)["model"])

    def restore_training(self, step: int, template: Any) -> Any:
        """The `training` item at `step`, in the structure, shapes and types of `template`.

        Raises:
          ConfigError: the item's arrays have other paths or shapes.
          WeightsError: the checkpoint is missing or damaged; the message names it.
        """
        with self._naming(step):
            self._check_names(step, template)
            return self._restore(step, "training", template)

    def _check_names(self, step: int, template: Any) -> None:
        """Raises ConfigError for a sound checkpoint of another version, which has other arrays."""
        saved = self._sealed(step).get(NAMES)
        if saved is not None and (other := set(saved) ^ set(_names(template))):
            raise ConfigError(
                f"checkpoint {self.folder / str(step)} comes from another version of vprjax or of a "
                f"library, as only one has {min(other)!r}; resume with the old versions or name another "
                "--workdir"
            )

    def _restore(self, step: int, item: str, template: Any) -> Any:
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(_on_host(template))})
        restored = self._manager.restore(step, args=args)[item]
        for kept, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(template), strict=True):
            if (kept.shape, kept.dtype) != (
                wanted.shape,
                wanted.dtype,
            ):  # orbax ignores the template's
                raise ConfigError(
                    f"checkpoint {self.folder / str(step)} holds {item} of {kept.shape} {kept.dtype} where "
                    f"this run has {wanted.shape} {wanted.dtype}: name another --workdir"
                )
        saved = self._sealed(step).get(DIGESTS, {}).get(item)
        if saved is not None and saved != checksum.of_arrays(restored):
            raise ValueError(f"{item} differs from its checksum")
        return restored

    def _sealed(self, step: int) -> dict:
        args = ocp.args.Composite(config=ocp.args.JsonRestore())
        return checksum.unseal(json.dumps(self._manager.restore(step, args=args)["config"]))

    def set_aside(self, step: int) -> None:
        """Takes a damaged checkpoint off the list; its files stay as `<step>.damaged`."""
        aside = self.folder / f"{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        (self.folder / str(step)).rename(aside)
        self._manager.reload()

    def config(self, step: int) -> dict:
        """The config saved at `step`."""
        with self._naming(step):
            return {k: v for k, v in self._sealed(step).items() if k not in (DIGESTS, NAMES)}

    def chosen(self) -> int:
        """The step that evaluation takes: the best validated one, or the last where none is validated."""
        steps = self.steps()
        found = best_of(self.config(max(steps)).get("validations", []), steps)
        return max(steps) if found is None else found

    def digests(self, step: int) -> dict[str, str]:
        """SHA-256 of what `model` and `training` held when they were saved at `step`."""
        with self._naming(step):
            return self._sealed(step).get(DIGESTS, {})

    @contextlib.contextmanager
    def _naming(self, step: int):
        try:
            yield
        except (ConfigError, MemoryError):
            raise  # the checkpoint is sound: another run's, or larger than memory
        except Exception as error:
            first = (str(error).splitlines() or ["no message"])[0]
            raise WeightsError(
                f"checkpoint {self.folder / str(step)} cannot be read ({type(error).__name__}: "
                f"{first}); remove that folder to go on without it"
            ) from error

    def close(self) -> None:
        """Waits for writes and frees orbax's manager."""
        self._manager.close()


def open_for_reading(folder: str | pathlib.Path) -> Checkpoints:
    """Checkpoints of a finished or running job; `folder` is its workdir or `checkpoints` folder.

    Raises:
      WeightsError: the folder holds no checkpoint.
    """
    folder = pathlib.Path(folder)
    if (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    if not folder.is_dir() or not any(p.name.isdigit() for p in folder.iterdir()):
        raise WeightsError(f"no checkpoint in {folder}: give the workdir of a run that has trained")
    return Checkpoints(folder, read_only=True)


def best_of(rows: Iterable[Sequence[float]], steps: Collection[float]) -> int | None:
    """The step of the highest score among `steps`, the earliest of equals; None where none has one.

    Args:
      rows: `(step, score)` of every validation.
      steps: the steps to choose from.
    """
    rows = [row for row in rows if row[0] in steps]
    return int(max(rows, key=lambda row: (row[1], -row[0]))[0]) if rows else None


def _leave_out_closed_loops() -> None:
    """Silences "Event loop is closed", which tensorstore's threads print after a failed write."""
    if getattr(sys.unraisablehook, "func", None) is not _hook:
        sys.unraisablehook = functools.partial(_hook, sys.unraisablehook)


def _hook(before, unraisable) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        before(unraisable)


def _names(tree: Any) -> list[str]:
    """Paths of a tree's arrays, such as `".opt_state[0].mu['a']"`."""
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _on_host(tree: Any) -> Any:
    """Empty NumPy arrays to restore into, free of devices and shardings."""
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
