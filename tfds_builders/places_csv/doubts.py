"""Warnings on datasets that build but whose order or positions are not what some uses need."""

from collections.abc import Iterator, Mapping, Sequence

from tfds_builders.frame import Frame
from tfds_builders.frames import Frames
from tfds_builders.places_csv.layouts.variant import Layout


def warnings(layout: Layout, splits: Mapping[str, Sequence[Frame]]) -> Iterator[str]:
    """Yields a sentence per doubt about the frames of a layout, besides those of `tfds_builders.doubts`."""
    untimed = [name for name, split in splits.items() if layout.untimed and counted(split)]
    if untimed:
        yield (
            f"{', '.join(untimed)}: images are in the order of {layout.untimed}, not of time, so sequence "
            "matching, intervals and stretches do not mean time"
        )
    for name, split in splits.items():
        lacking = int((~Frames.of(split).located).sum())
        if lacking:
            yield (
                f"{name}: {lacking} of {len(split)} images have no position, so in a dataset the split "
                "can hold queries and nothing else"
            )


def counted(frames: Sequence[Frame]) -> bool:
    """Whether the timestamps only number the frames."""
    return Frames.of(frames).counted
