"""`validate` names every problem of the raw data and writes nothing."""

import sys

from tfds_builders import digests, discover
from tfds_builders.build import check_manual_dir
from tfds_builders.builder import PlacesBuilder, sizes_differ
from tfds_builders.encoding import in_order
from tfds_builders.errors import RawDataError
from tfds_builders.progress import Progress


def run(args) -> int:
    """Checks the tables, then decodes every image; returns the exit status, raises RawDataError."""
    builder = discover.make(args.name, args.config, discover.data_dir(args.data_dir))
    if not isinstance(builder, PlacesBuilder):
        print(f"{builder.name} reads no raw data")
        return 0
    plan = builder.checked_plan(check_manual_dir(builder, args.manual_dir))
    problems: list[str] = []
    first: tuple[str, tuple] | None = None
    same: dict[str, list[bytes]] = {name: [] for name in plan.splits}
    for name, frames in plan.splits.items():
        with Progress(len(frames), name) as progress:

            def check(frame, progress=progress):
                try:
                    raw = builder.read(frame)
                    size = builder.decode(raw, frame).shape[:2]
                    return frame, size, digests.digest(raw), []
                except RawDataError as error:
                    return frame, None, b"", error.problems
                finally:
                    progress.add()

            for frame, size, digest, found in in_order(check, frames):
                problems += found
                same[name].append(digest)
                if size is None or builder.builder_config.height:
                    continue
                first = first or (builder.where(frame), size)
                if size != first[1]:
                    problems.append(sizes_differ(builder.where(frame), size, *first))
    if problems:
        raise RawDataError(*problems)
    for warning in [*plan.warnings, *digests.warnings(same)]:
        print(f"warning: {warning}", file=sys.stderr)
    counts = ", ".join(f"{name} {len(frames)}" for name, frames in plan.splits.items())
    print(f"the raw data is good: {counts}")
    return 0
