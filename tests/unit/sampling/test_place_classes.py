"""Places of the training route: who shares a class, and who never trains against whom."""

import numpy as np
import pytest

from vprjax.sampling import place_classes


def loop(n=400):
    angle = np.linspace(0, 4 * np.pi, n, endpoint=False)  # two laps: the second revisits the first
    positions = 60 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return positions, angle + np.pi / 2


def cut(positions, headings, **changes):
    settings = dict(cell=10.0, heading_degrees=60.0, groups=2, min_images=2) | changes
    return place_classes.cut(positions, headings, **settings)


def test_a_revisit_shares_its_class():
    positions, headings = loop()
    classes = cut(positions, headings)
    label_of = {int(i): c for c, images in enumerate(classes.members) for i in images}
    shared = [label_of[i] == label_of[i + 200] for i in range(200) if i in label_of]
    assert len(shared) > 150 and np.mean(shared) > 0.95  # rounding at a border may differ


def test_places_of_one_group_are_a_cell_apart_or_look_elsewhere():
    positions, headings = loop()
    classes = cut(positions, headings)
    for group in classes.groups:
        for a in group:
            for b in group:
                if a == b:
                    continue
                pa, pb = positions[classes.members[a]], positions[classes.members[b]]
                gap = np.linalg.norm(pa[:, None] - pb[None], axis=-1).min()
                turn = np.degrees(
                    headings[classes.members[a]].mean() - headings[classes.members[b]]
                )
                assert gap >= 10.0 or np.abs((turn + 180) % 360 - 180).min() > 30


def test_members_are_one_cell_and_every_class_has_one_group():
    positions, headings = loop()
    classes = cut(positions, headings, min_images=3)
    assert all(len(images) >= 3 for images in classes.members)
    for images in classes.members:
        assert len(np.unique(np.floor(positions[images] / 10.0), axis=0)) == 1
    assert sorted(np.concatenate(classes.groups)) == list(range(len(classes)))


def test_headings_around_north_share_a_bin():
    headings = np.array([0.0, 0.1, -1e-17, 2 * np.pi])  # -1e-17 % 360 is 360
    assert len(cut(np.ones((4, 2)), headings, min_images=4)) == 1


@pytest.mark.parametrize("degrees", [50.0, 51.0, 60.0, 70.0])
def test_headings_that_do_not_divide_the_circle_keep_near_views_apart(degrees):
    headings = np.radians([349.0, 349.0, 1.0, 1.0])
    classes = cut(np.ones((4, 2)), headings, heading_degrees=degrees)
    assert len(classes) == 2 and len(classes.groups) == 2


def test_unknown_headings_share_a_bin():
    positions, _ = loop()
    with_nan = cut(positions, np.full(len(positions), np.nan))
    without = cut(positions, np.zeros(len(positions)), heading_degrees=0.0)
    assert len(with_nan) == len(without)


def test_headings_of_some_images_alone_are_refused():
    # One place, which would be two classes of a group.
    headings = np.array([2.6, 2.6, np.nan, np.nan])
    with pytest.raises(ValueError, match=r"2 of the 4 .* no heading.* places.heading_degrees=60"):
        cut(np.ones((4, 2)), headings, heading_degrees=60.0, min_images=2)
    assert len(cut(np.ones((4, 2)), headings, heading_degrees=0.0, min_images=2)) == 1


def test_batches_are_pure_distinct_places_of_one_group():
    classes = cut(*loop())
    first = place_classes.batch_at(classes, 4, 3, seed=5, step=7)
    again = place_classes.batch_at(classes, 4, 3, seed=5, step=7)
    other = place_classes.batch_at(classes, 4, 3, seed=5, step=8)
    assert (first[0] == again[0]).all() and first[2] == again[2]
    assert first[2] != other[2]  # groups take turns
    images, labels, _ = first
    assert images.shape == (4, 3) and len(set(labels)) == 4
    for row, label in zip(images, labels, strict=True):
        assert np.isin(row, classes.members[label]).all()


def test_too_large_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"lower places\.batch_places"):
        place_classes.batch_at(cut(*loop()), 1000, 3, seed=0, step=0)


def test_a_place_alone_in_its_group_is_refused_and_never_drawn():
    """It trains nothing: there is no other that it could be taken for."""
    corners = np.repeat([[0.5, 0.5], [10.5, 0.5], [20.5, 0.5]], 3, axis=0)  # a cell each
    one_each = cut(corners[:6], np.zeros(6), heading_degrees=0.0)
    assert [len(group) for group in one_each.groups] == [1, 1]
    with pytest.raises(ValueError, match=r"no group has two places.*set places\.groups=1"):
        place_classes.batch_at(one_each, 1, 3, seed=0, step=0)
    beside_two = cut(corners, np.zeros(9), heading_degrees=0.0)
    assert [len(group) for group in beside_two.groups] == [2, 1]
    drawn = {place_classes.batch_at(beside_two, 1, 3, seed=0, step=step)[2] for step in range(4)}
    assert drawn == {0}


def test_no_place_is_refused():
    with pytest.raises(ValueError, match=r"enlarge places\.cell"):
        cut(*loop(), min_images=1000)


def test_labels_are_classes_and_cities_are_groups():
    labels = np.array(["Oslo/1", "Oslo/2", "Oslo/1", "Rome/1", "", "Rome/1", "Oslo/2", "Rome/7"])
    classes = place_classes.of_labels(labels, 2)
    assert [list(images) for images in classes.members] == [[0, 2], [1, 6], [3, 5]]
    assert [list(group) for group in classes.groups] == [[0, 1], [2]]
    for step in range(4):
        images, _, _ = place_classes.batch_at(classes, 2, 2, 0, step)
        assert {labels[i].split("/")[0] for i in images.ravel()} == {"Oslo"}  # Rome has one place


def test_labels_without_enough_images_are_named():
    with pytest.raises(ValueError, match=r"no label names 3 .*places\.by='label'"):
        place_classes.of_labels(np.array(["a", "a", ""]), 3)
