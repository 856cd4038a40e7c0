"""The geometric check: mutual matches, inliers of a known homography, and the order it gives."""

import cv2
import numpy as np

from vprjax.retrieval import geometric

RNG = np.random.default_rng(0)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def image(count=60, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 300, (count, 2)).astype(np.float32)
    return geometric.Local(points, unit(rng.normal(size=(count, 16))))


def seen_from_elsewhere(local, wrong=0):
    """The same features behind a homography, the last `wrong` of them at random points."""
    h = np.array([[0.9, 0.1, 12], [-0.08, 1.05, -7], [1e-4, -5e-5, 1]])
    points = cv2.perspectiveTransform(local.points[None].astype(np.float64), h)[0]
    if wrong:
        points[-wrong:] = RNG.uniform(0, 300, (wrong, 2))
    noise = unit(local.descriptors + 0.02 * RNG.normal(size=local.descriptors.shape))
    return geometric.Local(points.astype(np.float32), noise)


def test_mutual_matches_are_those_of_a_loop():
    a, b = unit(RNG.normal(size=(40, 6))), unit(RNG.normal(size=(25, 6)))
    distances = np.linalg.norm(a[:, None].astype(np.float64) - b, axis=2)
    wanted = [
        (i, int(distances[i].argmin()))
        for i in range(40)
        if distances[:, distances[i].argmin()].argmin() == i
    ]
    assert geometric.mutual(a, b).tolist() == [list(pair) for pair in wanted]
    assert geometric.mutual(a[:0], b).shape == (0, 2)


def test_inliers_are_the_matches_of_one_view():
    local = image()
    assert geometric.inliers(local, seen_from_elsewhere(local), 3) == 60
    found = geometric.inliers(local, seen_from_elsewhere(local, wrong=20), 3)
    assert 40 <= found <= 42
    assert geometric.inliers(local, image(seed=1), 3) <= 8
    again = seen_from_elsewhere(local, wrong=20)
    assert geometric.inliers(local, again, 3) == geometric.inliers(local, again, 3)


def test_an_image_without_features_has_no_inlier():
    empty = geometric.Local(np.empty((0, 2), np.float32), np.empty((0, 16), np.float32))
    three = geometric.Local(image().points[:3], image().descriptors[:3])
    for a, b in ((empty, image()), (image(), empty), (empty, empty), (three, three)):
        assert geometric.inliers(a, b) == 0
    one_point = geometric.Local(np.zeros((60, 2), np.float32), image().descriptors)
    assert geometric.inliers(one_point, one_point) in (0, 60)  # no homography, or any


def test_the_right_place_comes_first_and_the_rest_keeps_its_order():
    query = image()
    places = [image(seed=2), image(seed=3), seen_from_elsewhere(query), image(seed=4)]
    empty = geometric.Local(np.empty((0, 2), np.float32), np.empty((0, 16), np.float32))
    first, second = np.array([3, 0, 2, 1]), np.array([1, 3, 0, 2])
    order, counts = geometric.rerank(
        np.stack([first, second]), [query, empty].__getitem__, places.__getitem__, 3
    )
    assert order[0, 0] == 2 and counts[0, 0] == 60
    assert (np.diff(counts, axis=1) <= 0).all()
    np.testing.assert_array_equal(order[1], second)
    assert not counts[1].any()
