"""DELF on one dataset: its global descriptor, and the first matches in the order of a geometric check.

    python experiments/delf.py --weights=delf_gld_20190411/variables/variables.index --dataset=nordland
    python experiments/delf.py --weights=FILE --dataset=places_csv/mine --first=20

`--dataset` is a config of `configs/`, or a prepared dataset whose splits are train, reference and test01.
PCA to 40 dimensions is fit to local features of the references. OUT/delf.md and results.json hold the
figures before and behind the check, images without a feature, and time and bytes per image.
"""

import argparse
import json
import pathlib
import shlex
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from analysis import baselines
from analysis.text_table import Table
from grid import cells, files

import vprjax
from vprjax import retrieval
from vprjax.config import checks
from vprjax.console import log
from vprjax.data import protocol, source
from vprjax.descriptors import delf_local
from vprjax.errors import ConfigError, VprjaxError, naming
from vprjax.evaluation import measure
from vprjax.models.heads.delf import DELF
from vprjax.report.provenance import code_version, evaluation_provenance
from vprjax.retrieval import geometric
from vprjax.storage import checksum
from vprjax.storage.atomic import written_beside
from vprjax.weights import load_released

FITTED = 200  # references that fit PCA, evenly spread


class Stored:
    """Local features of many images by number, on the disk, in a file that ends with the process.

    Attributes:
      counts: features of each image.
      bytes: of all.
    """

    def __init__(self, features: Iterable[geometric.Local], folder: pathlib.Path):
        """Takes the features image by image; the file lies in `folder`."""
        self._file, self._starts = tempfile.TemporaryFile(dir=folder), []
        weakref.finalize(self, self._file.close)
        self.counts, self.bytes = [], 0
        for found in features:
            self._starts.append(self.bytes)
            self.counts.append(len(found.points))
            for array in (found.points, found.descriptors):
                self.bytes += self._file.write(np.asarray(array, "<f4").tobytes())
            self._width = found.descriptors.shape[1]
        self._file.flush()

    def __getitem__(self, number: int) -> geometric.Local:
        """Returns the features of an image."""
        count = self.counts[number]
        self._file.seek(self._starts[number])
        points, descriptors = (
            np.frombuffer(self._file.read(4 * count * width), "<f4").reshape(count, width)
            for width in (2, self._width)
        )
        return geometric.Local(points, descriptors)


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


def evaluate(args: argparse.Namespace, out: pathlib.Path) -> dict:
    """Returns the document of results.json: figures by way, "delf" and "delf_checked", and query split.

    The distance of a first match behind the check is `1 / (1 + inliers)`. Local features lie in `out`, a
    folder that is made, until the end.

    Raises:
      VprjaxError: the file, the dataset or a flag is wrong.
    """
    code = code_version()
    config = files.config_of(args.dataset, dict(map(cells.change, args.set)))
    for key, off in (("pca", 0), ("rerank", 0), ("other_datasets", ())):
        if config.eval[key]:
            raise ConfigError(
                f"eval.{key}={config.eval[key]} is for models that vprjax.main evaluates: set it to {off}"
            )
    config.model.weights = args.weights
    checks.check_values(config, config.dataset.name)
    dataset = source.open_dataset(config)
    checks.check_splits(config, dataset, training=False)
    protocol.check_lists(config, dataset)
    references = dataset.places((config.dataset.reference_split,))
    if not 0 < args.first <= len(references):
        raise ConfigError(
            f"--first={args.first} must be from 1 to the {len(references)} references"
        )
    with naming(out):
        out.mkdir(parents=True, exist_ok=True)
    model, local = model_for(args, references)
    rows, ms = _timed(lambda: np.concatenate([*model.stream(references)]), references)
    others, local_ms = _timed(lambda: _local(local, references, out), references)
    known = measure.Described(references, rows)
    results, without = {way: {} for way in baselines.DELF}, {}
    for split in config.dataset.query_splits:
        queries = dataset.places((split,))
        listed = protocol.positives(dataset, split, config.dataset.reference_split)
        query = measure.Described(queries, np.concatenate([*model.stream(queries)]), listed)
        features = _local(local, queries, out)
        without[split] = features.counts.count(0)
        check = checked(args.first, features, others)
        for way, search in zip(baselines.DELF, (None, check), strict=True):
            found = measure.measure(config, query, known, search=search)
            results[way][split] = found.figures.to_json()
    return {
        "dataset": f"{dataset.name}:{dataset.version}",
        "tolerances_m": list(config.dataset.tolerances),
        "results": results,
        "provenance": {
            **evaluation_provenance(config, dataset),
            "command": shlex.join(["python", "experiments/delf.py", *sys.argv[1:]]),
            "weights_sha256": model.digest,
            "code_version": code,
            "cost": _costs(rows.shape[1], others, ms, local_ms),
            "settings": {"first": args.first, "threshold": args.threshold},
            "without_features": without,
        },
    }


def _costs(size: int, features: Stored, ms: float, local_ms: float) -> dict:
    """What an image costs by way: the descriptor of `size` numbers, and behind it its local features."""
    local = features.bytes // len(features.counts)
    costs = ((4 * size, ms), (4 * size + local, ms + local_ms))
    return {
        way: {"dimension": size, "bytes_per_image": count, "ms_per_image": round(took, 3)}
        for way, (count, took) in zip(baselines.DELF, costs, strict=True)
    }


def checked(first: int, queries: Stored, references: Stored) -> measure.Search:
    """The search by L2 whose `first` matches of every query the geometric check puts in order."""

    def search(rows: np.ndarray, others: np.ndarray, k: int) -> measure.Ranked:
        distances, nearest = retrieval.nearest(rows, others, max(k, first))
        nearest[:, :first], inliers = geometric.rerank(
            nearest[:, :first], queries.__getitem__, references.__getitem__
        )
        distances = distances.astype(np.float64)
        distances[:, 0] = 1 / (1 + inliers[:, 0])
        return measure.Ranked(nearest[:, :k], distances[:, :k])

    return search


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


def _local(local, places: source.Places, folder: pathlib.Path) -> Stored:
    """The local features of every image."""
    return Stored((local(places.images([i])[0]) for i in range(len(places))), folder)


def _timed(made: Callable[[], Any], places: source.Places) -> tuple[Any, float]:
    """What `made` returns, and its milliseconds per image."""
    began = time.monotonic()
    return made(), 1000 * (time.monotonic() - began) / len(places)


def table(document: dict) -> Table:
    """The figures as a table."""
    results, facts = document["results"], document["provenance"]
    splits = results["delf"]
    rows = [
        [
            split,
            baselines.DELF[way],
            *(f"{value:.1f}" for value in results[way][split]["fcm"].values()),
        ]
        for split in splits
        for way in results
    ]
    notes = [
        f"The check orders the first {facts['settings']['first']} matches by the inliers of a homography.",
        *(
            f"{count} queries of {split} have no local feature and keep their order."
            for split, count in facts["without_features"].items()
            if count
        ),
    ]
    head = ["queries", "match", *next(iter(splits.values()))["fcm"]]
    return Table(f"DELF on {document['dataset']}: FCM (%) by tolerance", head, rows, 2, notes)


def main() -> int:
    """Returns 0, or 2 for a mistake that the user can mend."""
    args = parse()
    out = args.out or pathlib.Path("runs/delf") / args.dataset.replace("/", "_")
    try:
        found = evaluate(args, out)
        mark = (
            out / "results.json"
        )  # of a finished evaluation; it never stands beside another's table
        text = json.dumps(checksum.seal(found), indent=1) + "\n"
        with written_beside({out / "delf.md": table(found).markdown(), mark: text}):
            mark.unlink(missing_ok=True)
    except (VprjaxError, OSError) as error:
        print(f"vprjax: error: {error}", file=sys.stderr)
        return 2
    print(table(found).markdown())
    log(f"table: {out / 'delf.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
