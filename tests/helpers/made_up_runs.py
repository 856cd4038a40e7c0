"""Results files as runs write them, with figures of one's choosing."""

import json

TOLERANCES = (25.0, 10.0, 5.0, 2.0)


def document(
    cell,
    seed,
    fine_tuned,
    off_the_shelf=10.0,
    dataset="synthetic/tiny:1.1.0",
    projection=0,
    protocol="",
):
    """One run's results; `fine_tuned` and `off_the_shelf` are FCM at 25 m, halved at each next one."""
    backbone, pooling, loss = cell
    config = {
        "seed": seed,
        "model": {"backbone": backbone, "pooling": pooling, "projection": projection},
        "loss": {"name": loss},
        "dataset": {"position_unit": "m", "query_splits": ["test01", "test02"]},
    }

    def figures(widest):
        fcm = {f"{t:g}": widest / 2**i for i, t in enumerate(TOLERANCES)}
        interval = {t: [value - 1, value + 1] for t, value in fcm.items()}
        return {"fcm": fcm, "oracle_fcm": dict.fromkeys(fcm, 100.0), "interval": interval}

    by_split = {"test01": fine_tuned, "test02": fine_tuned / 2}
    results = {
        "off_the_shelf": {test: figures(off_the_shelf) for test in by_split},
        "fine_tuned": {test: figures(value) for test, value in by_split.items()},
    }
    provenance = {"config": config, "trained_with": config}
    if protocol:
        provenance["protocol"] = {"name": protocol}
    return {
        "schema": 1,
        "dataset": dataset,
        "tolerances_m": list(TOLERANCES),
        "results": results,
        "provenance": provenance,
    }


def write(root, runs, **options):
    """`runs` maps (cell, seed) to FCM at 25 m; returns the files."""
    paths = []
    for (cell, seed), fcm in runs.items():
        path = root / "-".join(cell) / f"seed{seed}" / "results.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document(cell, seed, fcm, **options)))
        paths.append(path)
    return paths
