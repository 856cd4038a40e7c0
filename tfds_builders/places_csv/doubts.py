"""Warnings on datasets that build but whose order or positions are not what some uses need."""

from collections.abc import Iterator

from tfds_builders.frame import Frame
from tfds_builders.places_csv.layouts.variant import Layout


def warnings(layout: Layout, splits: dict[str, list[Frame]]) -> Iterator[str]:
    """Yields a sentence per doubt about the frames of a layout, besides those of `tfds_builders.doubts`."""
    untimed = [name for name, split in splits.items() if layout.untimed and counted(split)]
    if untimed:
        yield (
            f"{', '.join(untimed)}: images are in the order of {layout.untimed}, not of time, so sequence "
            "matching, intervals and stretches do not mean time"
        )
    for name, split in splits.items():
        lacking = sum(not frame.located for frame in split)
        if lacking:
            yield (
                f"{name}: {lacking} of {len(split)} images have no position, so the split can hold queries "
                "and nothing else"
            )


def counted(frames: list[Frame]) -> bool:
    """Whether the timestamps only number the frames."""
    return [frame.timestamp for frame in frames] == list(range(len(frames)))
