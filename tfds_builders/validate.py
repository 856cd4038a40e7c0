"""`validate` names every problem of the raw data and writes nothing."""

import math
import sys

import numpy as np

from tfds_builders import digests, discover, images
from tfds_builders.build import check_manual_dir
from tfds_builders.builder import PlacesBuilder, Plan, sizes_differ
from tfds_builders.encoding import in_order
from tfds_builders.errors import RawDataError
from tfds_builders.frames import Frames
from tfds_builders.places_csv import zones
from tfds_builders.poses.route import line
from tfds_builders.progress import Progress


def run(args) -> int:
    """Checks the tables, then decodes every image; returns the exit status, raises RawDataError."""
    builder = discover.make(args.name, args.config, discover.data_dir(args.data_dir))
    if not isinstance(builder, PlacesBuilder):
        print(f"{builder.name} reads no raw data")
        return 0
    plan = builder.checked_plan(check_manual_dir(builder, args.manual_dir))
    problems, warnings = _check_images(builder, plan)
    if problems:
        raise RawDataError(*problems)
    for warning in (*plan.warnings, *warnings):
        print(f"warning: {warning}", file=sys.stderr)
    for name, values in plan.notes.get("motion", {}).items():
        print(line(name, values))
    for name, frames in plan.splits.items():
        print(_where(name, frames, plan))
    counts = ", ".join(f"{name} {len(frames)}" for name, frames in plan.splits.items())
    print(f"the raw data is good: {counts}")
    if protocol := plan.notes.get("protocol"):
        print(f"protocol {protocol['name']}: {protocol['positives']}; {protocol['queries']}")
    return 0


def _where(name: str, frames: Frames, plan: Plan) -> str:
    """The line on where a split's images lie: extent, first place on earth, first heading."""
    located = frames.take(frames.located)
    if not located:
        return f"{name}: no image has a position"
    first, unit = located[0], plan.position_unit
    width, height = np.ptp(located.positions, axis=0)
    told = f"{name}: {len(located):,} images on {width:,.1f} x {height:,.1f} {unit} (x, y)"
    if crs := plan.notes.get("crs"):
        ((latitude, longitude),) = zones.to_degrees(np.array([first.position]), crs)
        told += f", the first at latitude {latitude:.6f}, longitude {longitude:.6f}"
    if math.isfinite(first.heading):
        told += f", looking {math.degrees(first.heading) % 360:.1f} degrees from north"
    return told


def _check_images(builder: PlacesBuilder, plan: Plan) -> tuple[list[str], list[str]]:
    """Decodes and resizes every image; returns the problems, and the warnings where there are none."""
    config = builder.builder_config
    shorter = config.resize == "shorter_side"
    problems: list[str] = []
    pixels = builder.pixels()
    first: tuple[str, tuple] | None = None
    same: dict[str, list[bytes]] = {name: [] for name in plan.splits}
    for name, frames in plan.splits.items():
        with Progress(len(frames), name) as progress:

            def check(frame, progress=progress):
                try:
                    raw = builder.read(frame)
                    return frame, *builder.look(frame, raw), digests.digest(raw), []
                except RawDataError as error:
                    return frame, None, b"", b"", error.problems
                finally:
                    progress.add()

            for frame, size, levels, digest, found in in_order(check, frames):
                problems += found
                same[name].append(digest)
                if size is None:
                    continue
                pixels.add(name, builder.where(frame), size, levels)
                if config.height and not shorter:
                    continue
                size = images.fitted_size(size, config)
                first = first or (builder.where(frame), size)
                if size != first[1]:
                    problems.append(sizes_differ(builder.where(frame), size, *first, shorter))
    return problems, [] if problems else [*pixels.warnings(), *digests.warnings(same)]
