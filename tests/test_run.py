"""What a run says of itself."""

import subprocess
import types

from vprjax import run


def test_the_commit_is_that_of_the_package_not_of_a_checkout_around_it(tmp_path, monkeypatch):
    package = tmp_path / "venv" / "vprjax"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(
        run, "vprjax", types.SimpleNamespace(__file__=str(package / "__init__.py"), __version__="9")
    )

    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=b")
        subprocess.run(["git", "-C", tmp_path, *names, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / ".gitignore").write_text("venv\n")
    git("add", ".gitignore")
    git("commit", "-m", "another project")
    assert run.code_version() == "9"
    git("add", "-f", "venv")
    git("commit", "-m", "a checkout of the package")
    assert run.code_version().startswith("9 (") and "dirty" not in run.code_version()
