import os
import subprocess
import sys

import jax

from vprjax.runtime import compile_cache

PROGRAM = """
import pathlib, sys
import jax
from vprjax.runtime import compile_cache
compile_cache.SECONDS = 0.0
compile_cache.use(pathlib.Path(sys.argv[1]))
print(jax.jit(lambda x: x * 2 + 1)(3.0))
"""


def kept(workdir):
    command = [sys.executable, "-c", PROGRAM, str(workdir)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    subprocess.run(command, check=True, env=plain, stdout=subprocess.DEVNULL)
    return sorted(path for path in workdir.rglob("*-cache"))


def test_programs_are_kept_in_the_workdir_and_found_again(tmp_path):
    first = kept(tmp_path)
    assert first and all("compiled" in str(path) for path in first)
    assert kept(tmp_path) == first


def test_a_moved_workdir_keeps_its_programs(tmp_path):
    first = kept(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert [path.name for path in kept(tmp_path / "there")] == [path.name for path in first]


def test_a_program_that_a_kill_cut_short_is_compiled_and_kept_again(tmp_path):
    paths = kept(tmp_path)
    whole = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.write_bytes(whole[path][:-20])
    (paths[0].parent / "jit_other-1-cache").write_bytes(compile_cache.ZSTANDARD + b"1234")
    again = kept(tmp_path)
    assert {path: len(path.read_bytes()) for path in paths} == {p: len(w) for p, w in whole.items()}
    assert len(again) == len(paths) + 1  # what another library compressed stays


def test_a_folder_that_the_user_named_stays(tmp_path):
    named = str(tmp_path / "named")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", named)
    try:
        compile_cache.use(tmp_path)
        assert jax.config.jax_compilation_cache_dir == named
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
