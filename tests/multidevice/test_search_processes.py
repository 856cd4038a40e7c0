"""A search over two processes of four devices against one process of one device."""

import os
import subprocess
import sys

import launch_local
import numpy as np

from tests.multidevice.test_device_count import ROOT

PROGRAM = """
import os
import sys

import numpy as np

from vprjax import retrieval
from vprjax.runtime import distributed, parallel

hosts = os.environ.get("VPRJAX_HOSTS", "")
distributed.start(hosts, int(os.environ.get("VPRJAX_PROCESS_ID", "0")))
stored = np.load(sys.argv[1])
out = {"devices": parallel.device_count()}
for name, settings in (
    ("whole", {}),
    ("bfloat16", {"scan": "bfloat16"}),
    ("int8", {"scan": "int8"}),
    ("pruned", {"scan": "pruned"}),
    ("columns", {"memory_bytes": 1_500_000}),
):
    found = retrieval.search(stored["queries"], stored["references"], 5, **settings)
    out[name + "_distances"], out[name + "_indices"] = found.distances, found.indices
    out[name + "_columns"] = found.plan.columns
if parallel.is_primary():
    np.savez(sys.argv[2], **out)
"""


def run(program, tmp_path, name, devices, *launch):
    out = tmp_path / f"{name}.npz"
    environment = {
        **os.environ,
        **launch_local.virtual(devices),
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [sys.executable, *launch, str(program), str(tmp_path / "rows.npz"), str(out)],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return np.load(out)


def test_two_processes_find_what_one_device_finds(tmp_path):
    rng = np.random.default_rng(0)
    references = rng.normal(size=(1111, 600)).astype(np.float32)
    references[300:320] = references[7]
    queries = references[:53] + 0.1 * rng.normal(size=(53, 600)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", queries=queries, references=references)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = ("experiments/launch_local.py", "--processes=2", "--devices=4", "--", sys.executable)
    one, two = run(program, tmp_path, "one", 1), run(program, tmp_path, "two", 4, *launch)
    assert one["devices"] == 1 and two["devices"] == 8
    assert two["columns_columns"] < 600 == two["whole_columns"]
    exact = ((queries[:, None].astype(np.float64) - references) ** 2).sum(axis=2)
    order = np.argsort(exact, axis=1, kind="stable")[:, :5]
    for name in ("whole", "bfloat16", "int8", "pruned", "columns"):
        for found in (one, two):
            assert (found[f"{name}_indices"] == order).all(), name
        assert (one[f"{name}_distances"] == two[f"{name}_distances"]).all()
