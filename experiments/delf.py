"""DELF on one dataset: its global descriptor, and the first matches in the order of a geometric check.

    python experiments/delf.py --weights=delf_gld_20190411/variables/variables.index --dataset=nordland
    python experiments/delf.py --weights=FILE --dataset=places_csv/mine --first=20

`--dataset` is a config of `configs/`, or a prepared dataset whose splits are train, reference and test01.
PCA to 40 dimensions is fit to local features of the references. OUT/delf.md and delf.json hold FCM before
and behind the check, images without a feature, and the time per image and per pair.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
from analysis.text_table import Table
from grid import cells, files

import vprjax
from vprjax import retrieval
from vprjax.console import log
from vprjax.data import source
from vprjax.descriptors import delf_local
from vprjax.errors import ConfigError, VprjaxError
from vprjax.evaluation import fcm
from vprjax.models.heads.delf import DELF
from vprjax.retrieval import geometric
from vprjax.storage.atomic import write_atomically
from vprjax.weights import load_released

FITTED = 200  # references that fit PCA, evenly spread


def parse() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--weights", required=True, help="variables.index of DELF's SavedModel")
    add("--dataset", required=True, help="a config's name, such as nordland, or BUILDER/CONFIG")
    add("--out", type=pathlib.Path, help="folder of the table; runs/delf/DATASET by default")
    add("--first", type=int, default=20, help="matches of a query that are checked")
    add("--threshold", type=float, default=delf_local.THRESHOLD, help="least attention score")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="config key")
    return parser.parse_args()


def evaluate(args: argparse.Namespace) -> dict:
    """Returns the figures of every query split, JSON values.

    Raises:
      VprjaxError: the file, the dataset or a flag is wrong.
    """
    config = files.config_of(args.dataset, dict(map(cells.change, args.set)))
    dataset = source.open_dataset(config)
    references = dataset.places((config.dataset.reference_split,))
    if not 0 < args.first <= len(references):
        raise ConfigError(
            f"--first={args.first} must be from 1 to the {len(references)} references"
        )
    model, local = model_for(args, references)
    rows = np.concatenate([*model.stream(references)])
    others, ms = _described(local, references)

    def figures(split: str) -> dict:
        queries = dataset.places((split,))
        own = np.concatenate([*model.stream(queries)])
        _, nearest = retrieval.nearest(own, rows, args.first)
        features, _ = _described(local, queries)
        began = time.monotonic()
        checked, _ = geometric.rerank(nearest, features.__getitem__, others.__getitem__)
        pair = 1000 * (time.monotonic() - began) / nearest.size
        positions, tolerances = (queries, references.positions), config.dataset.tolerances
        return {
            "queries": len(queries.located),
            "fcm_global": _scores(*positions, nearest[:, 0], tolerances),
            "fcm_checked": _scores(*positions, checked[:, 0], tolerances),
            "without_features": sum(not len(f.points) for f in features),
            "ms_per_pair": round(pair, 3),
        }

    return {
        "dataset": f"{dataset.name}:{dataset.version}",
        "model": model.title,
        "first": args.first,
        "threshold": args.threshold,
        "ms_per_image": round(ms, 1),
        "splits": {split: figures(split) for split in config.dataset.query_splits},
    }


def model_for(args: argparse.Namespace, references: source.Places):
    """The global model, and the function `image -> geometric.Local` of its local features."""
    model = vprjax.load(args.weights, size=references.images([0]).shape[1:3])
    module, variables = load_released(args.weights)
    if not isinstance(module.pooling, DELF):
        raise ConfigError(f"{args.weights} is {model.title}: its head is no attention of DELF")
    rule = delf_local.Rule(threshold=args.threshold)
    describe = delf_local.describer(module, variables, rule)
    spread = np.linspace(0, len(references) - 1, min(FITTED, len(references))).astype(int)
    try:
        pca = delf_local.fit(describe(references.images([i])[0]) for i in spread)
    except ValueError as error:
        raise ConfigError(f"--threshold={args.threshold:g}: {error}") from error

    def local(image: np.ndarray) -> geometric.Local:
        found = delf_local.reduced(describe(image), pca)
        return geometric.Local(found.points, found.descriptors)

    return model, local


def _described(local, places: source.Places) -> tuple[list[geometric.Local], float]:
    """The local features of every image, and the milliseconds of one."""
    began = time.monotonic()
    found = [local(places.images([i])[0]) for i in range(len(places))]
    return found, 1000 * (time.monotonic() - began) / len(places)


def _scores(queries: source.Places, positions: np.ndarray, matched, tolerances) -> dict[str, float]:
    known = queries.located
    shares = fcm.fcm(queries.positions[known], positions[matched[known]], tolerances)
    return {f"{t:g}": round(float(s), 2) for t, s in zip(tolerances, shares, strict=True)}


def table(found: dict) -> Table:
    """The figures as a table."""
    splits, ways = found["splits"], {"fcm_global": "DELF, global", "fcm_checked": "checked"}
    rows = [
        [split, words, *(f"{value:.1f}" for value in splits[split][key].values())]
        for split in splits
        for key, words in ways.items()
    ]
    notes = [
        f"The check orders the first {found['first']} matches by the inliers of a homography.",
        f"Local features take {found['ms_per_image']} ms an image.",
        *(
            f"{f['without_features']} queries of {split} have no local feature and keep their order."
            for split, f in splits.items()
            if f["without_features"]
        ),
    ]
    head = ["queries", "match", *next(iter(splits.values()))["fcm_global"]]
    return Table(f"DELF on {found['dataset']}: FCM (%) by tolerance", head, rows, 2, notes)


def main() -> int:
    """Returns 0, or 2 for a mistake that the user can mend."""
    args = parse()
    out = args.out or pathlib.Path("runs/delf") / args.dataset.replace("/", "_")
    try:
        found = evaluate(args)
    except VprjaxError as error:
        print(f"vprjax: error: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "delf.json", json.dumps(found, indent=1) + "\n")
    write_atomically(out / "delf.md", table(found).markdown())
    print(table(found).markdown())
    log(f"table: {out / 'delf.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
