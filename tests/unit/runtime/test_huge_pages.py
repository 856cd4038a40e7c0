import os
import subprocess
import sys

import pytest

from vprjax.runtime import huge_pages

MADVISE = "always [madvise] never\n"


@pytest.mark.parametrize("mode", ["[always] madvise never\n", "always madvise [never]\n", ""])
def test_other_modes_need_no_restart(mode):
    assert huge_pages.environment({}, mode) is None


def test_the_setting_joins_a_users_own_and_never_replaces_it():
    assert huge_pages.environment({"A": "1"}, MADVISE) == {
        "A": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    other = {"GLIBC_TUNABLES": "glibc.malloc.check=3"}
    joined = "glibc.malloc.check=3:glibc.malloc.hugetlb=1"
    assert huge_pages.environment(other, MADVISE) == {"GLIBC_TUNABLES": joined}
    assert huge_pages.environment({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, MADVISE) is None


def test_a_command_starts_again_once_with_its_arguments(tmp_path):
    mode, script = tmp_path / "enabled", tmp_path / "script.py"
    mode.write_text(MADVISE)
    script.write_text(
        "import os, pathlib, sys\n"
        "from vprjax.runtime import huge_pages\n"
        "print('begun', os.getpid(), flush=True)\n"
        f"huge_pages.restart(pathlib.Path({str(mode)!r}))\n"
        "print(sys.argv[1:], sys.flags.dev_mode, os.environ['GLIBC_TUNABLES'])\n"
    )
    environ = {key: value for key, value in os.environ.items() if key != huge_pages.TUNABLES}
    command = [sys.executable, "-X", "dev", str(script), "--a=b c", ""]
    out = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    first, second, last = out.splitlines()
    assert first == second  # the same process id
    assert last == "['--a=b c', ''] True glibc.malloc.hugetlb=1"


def test_without_the_file_nothing_happens(tmp_path):
    huge_pages.restart(tmp_path / "none")
