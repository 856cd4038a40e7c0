"""What a run says of itself."""

import subprocess
import sys
import types

import pytest

from configs import base
from vprjax import config_check, run
from vprjax.data import source


@pytest.mark.parametrize(("unit", "warned"), [("frames", True), ("m", False), (None, False)])
def test_a_unit_that_is_not_the_datasets_is_warned_of(unit, warned, monkeypatch):
    config, said = base.get_config(), []
    config.dataset.name = "places_csv/seasons"
    dataset = types.SimpleNamespace(name=config.dataset.name, metadata={"position_unit": unit})
    monkeypatch.setattr(source, "describe", lambda _: dataset)
    monkeypatch.setattr(config_check, "check_splits", lambda *_: None)
    monkeypatch.setattr(run, "log", said.append)
    assert run._dataset(config, training=True) is dataset
    assert [("are in frames, dataset.position_unit is 'm'" in line) for line in said] == (
        [True] * warned
    )


def test_results_name_the_code_that_the_run_began_with(monkeypatch, tmp_path):
    """A checkout is often worked on while a long run goes on."""
    now, told = ["began"], []
    monkeypatch.setattr(run, "code_version", lambda: now[0])
    dataset = types.SimpleNamespace(name="places_csv/x", version="1.0.0", metadata={})
    monkeypatch.setattr(run, "_dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(run.compile_cache, "use", lambda _: None)

    def train(*_):
        assert "vprjax.pages.run_page" in sys.modules  # which the end needs, as it is now
        now[0] += " and changed"

    monkeypatch.setattr(run.train, "train", train)
    monkeypatch.setattr(run, "open_for_reading", lambda _: None)
    monkeypatch.setattr(run, "_evaluate", lambda *words: told.append(words[-1]))
    config = base.get_config()
    config.dataset.name, config.tuples.batch = "places_csv/x", 8
    monkeypatch.delitem(sys.modules, "vprjax.pages.run_page", raising=False)
    run.train_and_evaluate(config, tmp_path)
    assert now == ["began and changed"] and told == ["began"]


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
