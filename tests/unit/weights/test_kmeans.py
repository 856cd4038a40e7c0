import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vprjax.weights.kmeans import kmeans, lloyd_step


def _blobs(k=5, each=40, d=8, seed=0):
    """`k` far-apart groups of points, and their true means."""
    rng = np.random.default_rng(seed)
    means = 20.0 * np.eye(k, d)
    points = means[:, None] + rng.normal(0, 0.5, (k, each, d))
    shuffled = rng.permutation(points.reshape(-1, d)).astype(np.float32)
    return shuffled, points.mean(1)


def _sorted(rows):
    rows = np.asarray(rows)
    return rows[np.lexsort(rows.T[::-1])]


def test_finds_separate_groups():
    points, means = _blobs()
    centers = kmeans(points, 5, seed=0)
    assert centers.dtype == jnp.float32
    np.testing.assert_allclose(_sorted(centers), _sorted(means), atol=1e-4)


def test_starts_apart():
    # Odds of the squared distance: a start that draws evenly would miss a group 96 times in 100.
    points, _ = _blobs()
    for seed in range(5):
        start = np.asarray(kmeans(points, 5, seed, iterations=0))
        assert {tuple(p) for p in start} <= {tuple(p) for p in points}
        assert sorted(start.argmax(1)) == [0, 1, 2, 3, 4]


def test_is_a_function_of_the_seed():
    points = np.random.default_rng(0).normal(0, 1, (200, 4))
    first, second, other = (kmeans(points, 6, seed, iterations=2) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("block", [1, 64, 199, 1000])
def test_the_block_size_does_not_matter(block):
    points = np.random.default_rng(0).normal(0, 1, (200, 4))
    np.testing.assert_allclose(
        kmeans(points, 6, 0, iterations=3, block=block),
        kmeans(points, 6, 0, iterations=3),
        atol=1e-5,
    )


def test_one_iteration_moves_each_center_to_the_mean_of_its_points():
    points = np.random.default_rng(1).normal(0, 1, (300, 4))
    start = np.asarray(kmeans(points, 8, 0, iterations=0), np.float64)
    owner = ((points[:, None] - start[None]) ** 2).sum(-1).argmin(1)
    means = np.stack([points[owner == k].mean(0) for k in range(8)])
    np.testing.assert_allclose(kmeans(points, 8, 0, iterations=1), means, atol=1e-5)


def test_converges_where_scikit_learn_does():
    cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(1).normal(0, 1, (300, 4)).astype(np.float32)
    start = np.array(kmeans(points, 8, 0, iterations=0))
    wanted = cluster.KMeans(8, init=start, n_init=1, tol=0, algorithm="lloyd").fit(points)
    centers = kmeans(points, 8, 0, iterations=300)
    np.testing.assert_allclose(centers, wanted.cluster_centers_, atol=1e-5)


def test_empty_clusters_move_to_the_farthest_points():
    points = jnp.array([[0.0, 0.0], [0.2, 0.0], [5.0, 0.0], [0.0, 9.0]])
    centers = jnp.array([[100.0, 100.0], [0.1, 0.0], [-100.0, 0.0]])
    moved = lloyd_step(points, centers, 3)
    np.testing.assert_allclose(moved, [[0.0, 9.0], [1.3, 2.25], [5.0, 0.0]], rtol=1e-6)


def test_as_many_centers_as_points_and_repeated_points():
    points = np.random.default_rng(0).normal(0, 1, (6, 3)).astype(np.float32)
    np.testing.assert_allclose(_sorted(kmeans(points, 6, 0)), _sorted(points), atol=1e-6)
    np.testing.assert_allclose(kmeans(np.ones((6, 3)), 4, 0), np.ones((4, 3)), atol=1e-6)


def test_makes_nothing_larger_than_the_points():
    n, d, k = 512, 32, 16
    start = functools.partial(kmeans, k=k, seed=0, iterations=3, block=128)
    lowered = jax.jit(start).lower(jnp.ones((n, d)))
    shapes = re.findall(r"f32\[([\d,]+)\]", lowered.compile().as_text())
    assert max(np.prod([int(s) for s in shape.split(",")]) for shape in shapes) == n * d


def test_wrong_arguments_are_refused():
    points = np.ones((4, 2))
    for bad, k in [(points, 5), (points, 0), (points[0], 1)]:
        with pytest.raises(ValueError, match="at least k"):
            kmeans(bad, k, 0)
    with pytest.raises(ValueError, match="block"):
        kmeans(points, 2, 0, block=0)
