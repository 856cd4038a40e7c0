"""`show` prints what a built dataset holds and draws its routes and a contact sheet."""

import json
import math
import pathlib
import shlex
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import discover, images, show_plots
from tfds_builders.errors import RawDataError
from tfds_builders.poses import motion
from tfds_builders.poses.route import line as motion_line
from tfds_builders.progress import Progress

TOLD = (
    "pose_source",
    "position_unit",
    "counts",
    "warnings",
    "config",
    "raw",
    "protocol",
    "positives",
    "windows",
    "motion",
)  # `describe` has a line of its own for each


class Split(NamedTuple):
    """One split: its poses in memory, its records on disk."""

    name: str
    positions: np.ndarray  # (n, 2)
    headings: np.ndarray  # (n,) radians, NaN where unknown
    timestamps: np.ndarray  # (n,)
    labels: list[str]
    source: object

    @property
    def located(self) -> np.ndarray:
        """Numbers of the images whose position is known."""
        return np.flatnonzero(np.isfinite(self.positions).all(axis=1))

    def image(self, index: int) -> np.ndarray:
        """One image, uint8 `(h, w, 3)` BGR; raises RawDataError where it is damaged."""
        return images.decode(self.source[int(index)]["image"], f"{self.name}[{index}]")


def run(args) -> int:
    """Prints and draws NAME; returns the exit status."""
    folder = find_built(args.name, args.config, discover.data_dir(args.data_dir))
    with discover.quiet():
        builder = tfds.builder_from_directory(folder)
    metadata = dict(builder.info.metadata or {})
    splits = [_read(builder, name) for name in builder.info.splits]
    for line in describe(builder, metadata, splits):
        print(line)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    stem = "_".join(folder.parts[-3:-1]) if folder.parent.name != args.name else args.name
    unit = metadata.get("position_unit", "m")
    drawn = (("routes", show_plots.routes), ("places", show_plots.contact_sheet))
    for suffix, draw in drawn if any(len(split.located) for split in splits) else ():
        path = out / f"{stem}_{suffix}.png"
        draw(splits, unit, path)
        print(f"drawn: {path}")
    return 0


def find_built(name: str, option: str | None, data_dir: pathlib.Path) -> pathlib.Path:
    """The folder of the newest built version, of `option`'s config or else of the only one.

    Raises:
      RawDataError: nothing is built, or several configs are and `option` is None.
    """
    discover.builder_class(name)
    config = None if option is None else discover.config_name(option)
    root = data_dir / name
    built = _versions(root.glob(f"{config or '*'}/*/dataset_info.json"))
    if not built and config is None:
        built = _versions(root.glob("*/dataset_info.json"))
    configs = sorted({path.parent.name for path in built})
    if not built:
        wanted = f"{name}/{config}" if config else name
        words = "" if name == "synthetic" else " --manual_dir=RAW"
        words += f" --config={shlex.quote(option)}" if option else ""
        raise RawDataError(
            f"{wanted} is not built under {data_dir}; build it with: "
            f"python -m tfds_builders build {name}{words} --data_dir={data_dir}"
        )
    if len(configs) > 1:
        raise RawDataError(f"{name} is built with {', '.join(configs)}; choose one with --config")
    return max(built, key=lambda path: [int(part) for part in path.name.split(".")])


def _versions(infos: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The folders of built versions; a copy such as `1.0.0_old` is none."""
    folders = [path.parent for path in infos]
    return [f for f in folders if all(part.isdecimal() for part in f.name.split("."))]


def _read(builder, name: str) -> Split:
    source = builder.as_data_source(split=name, decoders={"image": tfds.decode.SkipDecoding()})
    positions, headings, timestamps, labels = [], [], [], []
    with Progress(len(source), f"reading {name}") as progress:
        for index in range(len(source)):
            record = source[index]
            positions.append(record["position"])
            headings.append(record["heading"])
            timestamps.append(record["timestamp"])
            labels.append(record["label"].decode())
            progress.add()
    return Split(
        name,
        np.array(positions, np.float64).reshape(-1, 2),
        np.array(headings, np.float64),
        np.array(timestamps, np.int64),
        labels,
        source,
    )


def describe(builder, metadata: dict, splits: list[Split]) -> list[str]:
    """The printed lines."""
    unit = metadata.get("position_unit", "m")
    height, width = splits[0].image(0).shape[:2]
    lines = [
        f"{builder.info.full_name}: {builder.info.dataset_size} in {builder.data_path}",
        f"images: {width}x{height} pixels (width x height; first image)",
        f"pose source: {metadata.get('pose_source', 'not recorded')}; position unit: {unit}",
        "",
        f"{'split':<20} {'images':>8} {'dropped':>8} {'length':>11} {'spacing':>9} {'largest':>9} "
        f"{'headings':>9}  labels",
    ]
    counts = metadata.get("counts", {})
    for split in splits:
        dropped = counts.get(split.name, {}).get("dropped", {})
        length, spacing, largest = route(split.positions)
        known = np.isfinite(split.headings).mean()
        lines.append(
            f"{split.name:<20} {len(split.labels):>8} {sum(dropped.values()):>8} "
            f"{length:>9.1f} {unit} {spacing:>7.3f} {unit} {largest:>7.2f} {unit} {known:>9.0%}"
            f"  {len(set(split.labels) - {''})}"
        )
    lines.append(
        "(length: along the route; spacing: median step between images; largest: its maximum)"
    )
    if unit == "m":
        lines += [line for split in splits for line in _motion(split, metadata.get("motion", {}))]
    for name, count in counts.items():
        for reason, number in count.get("dropped", {}).items():
            lines.append(f"dropped from {name}: {number} of {count['found']}: {reason}")
    lines += [f"warning: {text}" for text in metadata.get("warnings", ())]
    if protocol := metadata.get("protocol"):
        lines.append(f"protocol {protocol['name']}: {protocol['positives']}; {protocol['queries']}")
    for name, found in metadata.get("windows", {}).items():
        lines.append(f"{name}: {len(found['middles'])} windows of {found['length']} frames")
    for name, found in metadata.get("positives", {}).items():
        lengths = [len(right) for right in found["lists"]]
        lines.append(
            f"{name}: right answers in {found['reference']} are listed, {min(lengths)} to {max(lengths)} a "
            f"query; {lengths.count(0)} of {len(lengths)} queries have none"
        )
    for key, value in metadata.items():
        if key not in TOLD:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return lines


def _motion(split: Split, told: dict) -> list[str]:
    """The line of a split that is a drive, by its metadata or else by what its records show."""
    found = motion.measure(split.positions, split.headings) if split.name not in told else None
    values = told.get(split.name) or (found and found.as_json())
    return [motion_line(split.name, values)] if values else []


def route(positions: np.ndarray) -> tuple[float, float, float]:
    """Length, median step and largest step of `(n, 2)` positions in order; NaN steps below two.

    Positions that are unknown do not count.
    """
    positions = positions[np.isfinite(positions).all(axis=1)]
    if len(positions) < 2:
        return 0.0, math.nan, math.nan
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return float(steps.sum()), float(np.median(steps)), float(steps.max())
