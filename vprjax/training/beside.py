"""What an evaluation reads besides its own dataset, and the blend that it settles on."""

import dataclasses
import pathlib
from typing import Any

from vprjax import models
from vprjax.config import changes, limits
from vprjax.console import log
from vprjax.data import source
from vprjax.data.named import Named
from vprjax.data.source import Places
from vprjax.evaluation import blend, choose, elsewhere
from vprjax.evaluation.elsewhere import Elsewhere
from vprjax.runtime import parallel
from vprjax.storage.checkpoint import open_for_reading
from vprjax.training import preflight
from vprjax.training.validation import split_off


@dataclasses.dataclass(frozen=True)
class Beside:
    """What an evaluation reads besides its own dataset.

    Attributes:
      others: the datasets of `eval.other_datasets`.
      keep: the keep set of `eval.blend='auto'`, or None.
      held_out: queries and references of the run's validation for `eval.blend='auto'`, or None.
      home: the config that they count by; None is the evaluation's.
      warnings: sentences on suspicious data, which the results repeat.
    """

    others: tuple[Elsewhere, ...] = ()
    keep: Elsewhere | None = None
    held_out: tuple[Places, Places] | None = None
    home: Any = None
    warnings: tuple[str, ...] = ()


def find_beside(
    config,
    dataset,
    trained: elsewhere.Trained,
    workdir: pathlib.Path,
    count: int,
    besides: tuple[Named, ...] = (),
) -> Beside:
    """Opens and checks what the evaluation of `count` models reads besides its own dataset.

    `trained` holds the dataset and the splits that the model trains on, `besides` what its training reads
    of other datasets.

    Raises:
      VprjaxError: a check fails; the sentence is on the first one.
    """
    others = elsewhere.find(config, trained, besides)
    keep = elsewhere.keep_set(config, trained, besides)
    for run in blend.asked(config).runs:
        open_for_reading(run).close()
    if others:
        module = models.build_for_platform(config.model, parallel.AXIS)
        limits.check_disk(config, module, dataset, workdir, count, others)
    found = [
        f"{other.dataset.name}: {words}"
        for other in (*others, *([keep] if keep else ()))
        for words in (
            *preflight.suspicions(other.config, other.dataset, trained),
            *preflight.seen(other.config, other.dataset, besides),
        )
    ]
    return Beside(others, keep, warnings=tuple(found))


def with_validation(beside: Beside, config, run) -> Beside:
    """Adds what `eval.blend='auto'` measures at home: what the run's validation held out.

    Where `config` evaluates another dataset, tolerances and headings are those of the run's own config,
    `run`: the other dataset may count in another unit, or without any distance.

    Raises:
      DataError: the dataset that the run trained on is missing.
    """
    own = config.copy_and_resolve_references()
    own.dataset = run.dataset.copy_and_resolve_references()
    if source.split_name(run.dataset.name)[:2] == source.split_name(config.dataset.name)[:2]:
        own.dataset.tolerances = config.dataset.tolerances
    else:
        own.eval.heading_degrees = run.eval.heading_degrees
    dataset = source.open_dataset(own)
    _, held = split_off(own, dataset.places(tuple(own.dataset.train_splits)), dataset)
    return dataclasses.replace(beside, held_out=(held.queries, held.references), home=own)


def settled_blend(
    config, beside: Beside, extract, checkpoints, workdir: pathlib.Path
) -> blend.Blend:
    """The blend that `eval.blend` asks for, "auto" chosen; the workdir keeps it for `vprjax.load`."""
    found = blend.asked(config)
    if config.eval.blend == blend.AUTO:
        found = dataclasses.replace(found, keep=beside.keep.name if beside.keep else "")
        home = beside.home or config
        score = choose.scorer(home, extract, beside.held_out, beside.keep)
        found = choose.choose(blend.Ends(checkpoints, found.runs), found, score)
        log(f"evaluation takes {found.words()}")
    saved = changes.completed(checkpoints.config(checkpoints.chosen())["config"])
    before = saved.get("eval", {}).get("blend", blend.OFF), (workdir / blend.FILE).exists()
    if parallel.is_primary() and (not found.whole or before != (blend.OFF, False)):
        blend.write(workdir, found)
    parallel.barrier("blended")
    return found
