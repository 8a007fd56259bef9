"""Modules that are imported while something else is calculated; Lightning is one, and only where it is needed."""

import importlib
import subprocess
import sys
import threading

import pytest

from instax3d.stages.early_import import import_early


@pytest.fixture
def module_file(tmp_path, monkeypatch):
    """A place for modules that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text)
    for name in ("early_one", "early_two"):
        sys.modules.pop(name, None)


def test_it_returns_at_once_and_who_needs_the_module_waits(module_file):
    module_file("early_one", "import threading, time\ntime.sleep(0.2)\nthread = threading.current_thread()\n")
    import_early("early_one")
    assert not hasattr(sys.modules.get("early_one"), "thread")
    module = importlib.import_module("early_one")
    assert module.thread is not threading.main_thread()


def test_an_error_is_raised_where_the_module_is_needed(module_file):
    module_file("early_two", "raise ImportError('not today')")
    import_early("early_two")
    with pytest.raises(ImportError, match="not today"):
        importlib.import_module("early_two")


def test_stages_without_a_construction_do_without_lightning():
    code = "import sys, instax3d.stages.pipeline, instax3d.report.fit_output; print('lightning' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
