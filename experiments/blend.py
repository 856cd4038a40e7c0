"""Draws how a model trades home against abroad: FCM over the share of the fine-tuned parameters.

    python experiments/blend.py runs/nordland --set "eval.other_datasets=('places_csv/corridor',)"
    python experiments/blend.py runs/triplet runs/contrastive --weights=1,1 --shares=0,0.5,1

It measures `(1 - a) * untrained + a * fine-tuned` on the run's own queries and on every dataset of
`eval.other_datasets`, without training. Of several runs from one start, fine-tuned is their mean by
`--weights`. `--set` changes a key of the run's config. `--csv` keeps rows for `experiments/forgetting.py`,
at the tolerances `--home` and `--abroad`. No PCA follows the model. The figures are of test queries and
choose nothing: `eval.blend=auto` chooses on validation.
"""

import argparse
import dataclasses
import pathlib
import sys

import ml_collections
import numpy as np
from absl import logging
from analysis import forgetting
from analysis.text_table import Table, check_out
from grid import cells

from vprjax import models
from vprjax.config import changes, checks
from vprjax.data import named, protocol, source, together
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError, VprjaxError
from vprjax.evaluation import blend, elsewhere, measure
from vprjax.evaluation.result import AFTER, BEFORE, Result
from vprjax.report import abroad
from vprjax.report.provenance import code_version
from vprjax.runtime import parallel
from vprjax.storage.atomic import write_atomically
from vprjax.storage.checkpoint import open_for_reading

TITLE = "Home and abroad over the share of the fine-tuned parameters"
SHARES = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"


@dataclasses.dataclass(frozen=True)
class Measured:
    """One share of the fine-tuned parameters.

    Attributes:
      share: `a`.
      sides: every dataset, home first, with the results of the untrained model and of this one.
    """

    share: float
    sides: list[elsewhere.Elsewhere]


def config_of(run: pathlib.Path, sets: list[str]) -> ml_collections.ConfigDict:
    """The run's config with the changes of `--set`, checked."""
    checkpoints = open_for_reading(run)
    saved = checkpoints.config(checkpoints.chosen())["config"]
    checkpoints.close()
    config = ml_collections.ConfigDict(changes.completed(saved))
    try:
        config.update_from_flattened_dict(dict(map(cells.change, sets)))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"--set: {' '.join(str(error.args[0]).split())}") from error
    config.eval.update(blend="off", keep_dataset="", pca=0, pca_whiten=False, sequence_length=0)
    splits = tuple(config.dataset.train_splits)
    checks.check_values(config, config.dataset.name, splits)
    return config


def curve(config, run: pathlib.Path, blended: blend.Blend, shares: list[float]) -> list[Measured]:
    """Measures every share on every dataset; descriptors stay in memory.

    Raises:
      VprjaxError: a dataset or a run is missing, or the runs have different starts.
    """
    dataset = source.open_dataset(config)
    checks.check_splits(config, dataset, training=False)
    trained = dataset, tuple(config.dataset.train_splits)
    texts = (*config.others.names, *config.keep.images)
    besides = named.still_there(texts, config.dataset.data_dir)
    sides = [elsewhere.Elsewhere(config, dataset), *elsewhere.find(config, trained, besides)]
    checkpoints = open_for_reading(run)
    ends = blend.Ends(checkpoints, blended.runs)
    checkpoints.close()
    module = models.build_for_platform(config.model, parallel.AXIS)
    extract = Extractor(module.apply, config.eval.batch)
    first = [_results(side, extract, ends.start, "untrained") for side in sides]
    out = []
    for share in shares:
        variables = ends.at(dataclasses.replace(blended, share=share))
        found = [_results(side, extract, variables, f"a={share:g}") for side in sides]
        results = [{BEFORE: a, AFTER: b} for a, b in zip(first, found, strict=True)]
        both = zip(sides, results, strict=True)
        out.append(Measured(share, [dataclasses.replace(s, results=r) for s, r in both]))
    return out


def _results(
    side: elsewhere.Elsewhere, extract: Extractor, variables, words: str
) -> dict[str, Result]:
    """The results of one model by query split."""
    replicated, d = parallel.replicate(variables), side.config.dataset

    def described(split: str) -> measure.Described:
        places = side.dataset.places((split,))
        frames = together.frames_of(places)
        rows = extract(replicated, frames, np.arange(len(frames)), f"describe {split} ({words})")
        rows = together.described(places, rows)
        listed = protocol.positives(side.dataset, split, d.reference_split)
        return measure.Described(places, rows, listed if split in d.query_splits else None)

    reference = described(d.reference_split)
    return {
        split: measure.measure(side.config, described(split), reference) for split in d.query_splits
    }


def table(found: list[Measured]) -> Table:
    """One row per share: FCM at every tolerance of every dataset, and the change against the untrained."""
    sides, every = found[0].sides, [[side.changes() for side in point.sides] for point in found]
    # Where no query has a position, nothing is right or wrong.
    columns = [(i, split) for i, own in enumerate(every[0]) for split in own if own[split]]
    head = ["a"]
    for i, split in columns:
        own = sides[i].config.dataset
        at = " / ".join(f"{t:g}" for t in own.tolerances)
        head += [f"{own.name}, {split}, at {at} {own.position_unit}", "change at the narrowest"]
    rows = []
    for point, changed in zip(found, every, strict=True):
        row = [f"{point.share:g}"]
        for i, split in columns:
            by_tolerance = changed[i][split]
            moved = list(by_tolerance.values())[-1]
            row.append(" / ".join(f"{change.after:.1f}" for change in by_tolerance.values()))
            low, high = moved.interval
            shown = f"{moved.difference:+.1f} [{low:+.1f}, {high:+.1f}]"
            row.append(shown if point.share else "")
        rows.append(row)
    note = (
        "FCM (%). a: share of the fine-tuned parameters. Change: points against the untrained model on the "
        "same queries, with the paired 95 % interval."
    )
    return Table(TITLE, head, rows, 0, [note])


def record(config, found: list[Measured], name: str, tolerances: tuple[float, float]):
    """The rows of `experiments/forgetting.py`, one setting per share."""
    out = []
    for point in found:
        home, *others = point.sides
        document = {
            "dataset": home.name,
            "results": abroad.figures(home.results),
            "others": abroad.to_json(others),
            "provenance": {"config": config.to_dict(), "code_version": code_version()},
        }
        setting = f"{name}, a={point.share:g}" if name else f"a={point.share:g}"
        rows = forgetting.of_results(document, setting, tolerances)
        out += [row for row in rows if point.share or row.setting == forgetting.UNTRAINED]
    return forgetting.merged([], out)


def parse() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", type=pathlib.Path, nargs="+", help="workdirs of runs from one start")
    add("--weights", default="", help="comma list of each run's weight; equal by default")
    add("--shares", default=SHARES, help="comma list of shares of the fine-tuned parameters")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="config key of the first run",
    )
    add("--out", type=pathlib.Path, help="file for the table")
    add("--csv", type=pathlib.Path, help="file for the rows of the record")
    add("--setting", default="", help="name of the runs in the rows")
    add("--home", type=float, help="tolerance of the rows at home")
    add("--abroad", type=float, help="tolerance of the rows abroad")
    return parser.parse_args()


def main() -> int:
    """Prints the curve; returns the exit status."""
    args = parse()
    logging.set_verbosity(logging.ERROR)  # hides the libraries' own lines
    try:
        shares = [float(text) for text in args.shares.split(",")]
        if not all(0 <= share <= 1 for share in shares):
            raise ConfigError(f"--shares={args.shares}: give numbers from 0 to 1")
        if args.csv and None in (args.home, args.abroad):
            raise ConfigError("--csv needs --home and --abroad, the tolerances of its rows")
        check_out("--out", args.out, f"## {TITLE}")
        check_out("--csv", args.csv, forgetting.text([]))
        config = config_of(args.runs[0], args.set)
        config.eval.blend_runs = tuple(map(str, args.runs[1:]))
        config.eval.blend_weights = tuple(map(float, filter(None, args.weights.split(","))))
        config.eval.blend = "1"
        checks.check_values(config, config.dataset.name, tuple(config.dataset.train_splits))
        found = curve(config, args.runs[0], blend.asked(config), shares)
        table(found).show(args.out)
        if args.csv:
            rows = record(config, found, args.setting, (args.home, args.abroad))
            write_atomically(args.csv, forgetting.text(rows))
        return 0
    except (VprjaxError, OSError, ValueError) as error:
        print(f"blend: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
