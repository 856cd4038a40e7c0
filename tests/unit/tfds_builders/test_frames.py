"""Frames as columns: the same frames come back, alone, in slices, chosen, joined and moved."""

import pathlib
import tracemalloc

import numpy as np
import pytest

from tfds_builders.frame import Frame
from tfds_builders.frames import Frames


def made(count=7, folder="raw", **more):
    """Frames with unknown positions, labels alike, letters beyond ASCII, sources below a folder."""
    return [
        Frame(
            image_id=f"städte/{'x' * i}{i}.jpg",
            position=(np.nan, np.nan) if i == 2 else (i + 0.1, 5_735_000.123456789 - i),
            heading=np.nan if i % 3 == 1 else -0.1 * i,
            timestamp=1_628_185_086_339_831 + i,
            label=f"place {i // 2}",
            source=f"{folder}/städte/{'x' * i}{i}.jpg",
        )._replace(**more)
        for i in range(count)
    ]


def same(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert repr(ours) == repr(theirs)  # NaN is itself there


def test_frames_come_back():
    frames = Frames.of(made())
    same(frames, made())
    same(frames[2:6][1:], made()[3:6])
    same([frames[-1], frames[0]], [made()[-1], made()[0]])
    same(frames[:None], made())
    same(frames.take(frames.located), made()[:2] + made()[3:])
    same(frames[::-2], made()[::-2])
    same(frames.take(np.array([-1, 0])), [made()[-1], made()[0]])
    same(frames.take(np.array([5, 1])), [made()[5], made()[1]])
    same(Frames.of([]), [])
    assert Frames.of(frames) is frames and not Frames.of([]) and not frames.counted
    with pytest.raises(IndexError):
        frames[7]
    assert frames.positions.dtype == np.float64 and frames.timestamps.dtype == np.int64


@pytest.mark.parametrize("source", [None, ("a.bag", 7), pathlib.Path("other/a.jpg")])
def test_sources_of_other_kinds_are_kept(source):
    mixed = made(3) + made(2, source=source)
    same(Frames.of(mixed), mixed)
    same(Frames.of(mixed)[3:], mixed[3:])
    same(Frames.joined([Frames.of(made()), Frames.of(mixed)]), made() + mixed)


def test_paths_below_one_folder_are_not_kept_twice():
    paths = [f._replace(source=pathlib.Path(f.source)) for f in made()]
    assert [frame.source for frame in Frames.of(paths)] == [frame.source for frame in made()]


def test_joined_and_placed():
    other = made(4, label="place 1") + made(1, label="new")
    joined = Frames.joined([Frames.of(made()), Frames.of([]), Frames.of(other)])
    same(joined, made() + other)
    places = np.arange(24.0).reshape(12, 2)
    moved = joined.placed(places, 100)
    wanted = [
        frame._replace(position=tuple(place), timestamp=100 + i)
        for i, (frame, place) in enumerate(zip(made() + other, places.tolist(), strict=True))
    ]
    same(moved, wanted)
    assert joined.placed(places, 0).counted and not moved.counted


def test_columns_take_a_small_part_of_the_memory():
    tracemalloc.start()
    frames = Frames.of(
        [
            Frame(
                f"{i:060d}.jpg",
                (i + 0.5, i + 0.25),
                i + 0.1,
                10**15 + i,
                f"p{i // 5}",
                f"r/{i:060d}.jpg",
            )
            for i in range(4_000)
        ]
    )
    taken = tracemalloc.get_traced_memory()[0] / len(frames)
    tracemalloc.stop()
    assert 64 < taken < 160  # bytes an image; the list takes 548
