"""What plugins need and provide is compared for every kind, named by options too, before torch is imported."""

import json
import os
import subprocess
import sys

import pytest

PLUGINS = """
from typing import Annotated

from instax3d import Kind, LossConfig, PluginConfig, PluginRef, PluginSpec, hookimpl

INSTAX3D_API = "1.1"


class InnerConfig(PluginConfig):
    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR)] = "needy"

class DeepConfig(PluginConfig):
    prior: Annotated[str, PluginRef(Kind.MESH_PRIOR)] = "inner"

class HeadConfig(PluginConfig):
    head: Annotated[str | None, PluginRef(Kind.HEAD_MODEL, needs=frozenset({"jaw"}))] = None

class AboveConfig(PluginConfig):
    below: Annotated[str, PluginRef(Kind.METRIC)] = "without_jaw"

class WithoutJawConfig(PluginConfig):
    head: Annotated[str, PluginRef(Kind.HEAD_MODEL, needs=frozenset({"jaw"}))] = "needy"

class RoundConfig(PluginConfig):
    other: Annotated[str, PluginRef(Kind.METRIC)] = "round"

class RequiredConfig(PluginConfig):
    must: int

class NamesRequiredConfig(PluginConfig):
    other: Annotated[str, PluginRef(Kind.METRIC)] = "required"


@hookimpl
def instax3d_plugins():
    for kind in Kind:
        makes = "views" if kind is Kind.STAGE else None
        yield PluginSpec(kind=kind, name="needy", summary="", target="no_such_module:Never",
                         needs=frozenset({"moonlight"}), makes=makes)
    for kind, name, config in (
        (Kind.MESH_PRIOR, "inner", "InnerConfig"),
        (Kind.METRIC, "deep", "DeepConfig"),
        (Kind.METRIC, "with_head", "HeadConfig"),
        (Kind.METRIC, "without_jaw", "WithoutJawConfig"),
        (Kind.METRIC, "above", "AboveConfig"),
        (Kind.METRIC, "round", "RoundConfig"),
        (Kind.METRIC, "required", "RequiredConfig"),
        (Kind.METRIC, "names_required", "NamesRequiredConfig"),
    ):
        yield PluginSpec(kind=kind, name=name, summary="", target="no_such_module:Never",
                         config=f"needy_plugins:{config}")
    yield PluginSpec(kind=Kind.STAGE, name="lamp", summary="", target="no_such_module:Never",
                     provides=frozenset({"moonlight"}), makes="views")
"""
CHECK = """
import json, sys
from instax3d import ConfigError, load_config
from instax3d.registry import registry
assert not registry().broken, registry().broken
said = []
for overrides in json.loads(sys.argv[1]):
    try:
        load_config(overrides=overrides, source="photo")
        said.append("fine")
    except ConfigError as error:
        said.append(str(error))
assert "torch" not in sys.modules
print(json.dumps(said))
"""
CASES = {
    "losses=[needy]": "loss 'needy' needs moonlight",
    "stages=[needy]": "stage 'needy' needs moonlight",
    "callbacks=[needy]": "callback 'needy' needs moonlight",
    "metrics=[needy]": "metric 'needy' needs moonlight",
    "view_generator=needy": "view_generator 'needy' needs moonlight",
    "mesh_prior=needy": "mesh_prior 'needy' needs moonlight",
    "representation=needy": "representation 'needy' needs moonlight",
    "densifier=needy": "densifier 'needy' needs moonlight",
    "renderer=needy": "renderer 'needy' needs moonlight",
    "landmark_detector=needy": "landmark_detector 'needy' needs moonlight",
    # one that an option names, and one that its default names in turn
    "metrics=[{plugin: deep, prior: needy}]": "mesh_prior 'needy' (metrics.deep.prior) needs moonlight",
    "metrics=[deep]": "landmark_detector 'needy' (metrics.deep.prior.detector) needs moonlight",
    "mesh_prior=inner": "landmark_detector 'needy' (mesh_prior.detector) needs moonlight",
    "metrics=[above]": "metrics.above.below.head: head_model 'needy' does not provide jaw",
    "metrics=[names_required]": "metrics.names_required.other",
    "metrics=[with_head]": "fine",
    "metrics=[round]": "fine",
    # what provides it need not be in a slot
    "metrics=[needy] & stages=[lamp]": "fine",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process without torch says to each case."""
    folder = tmp_path_factory.mktemp("needy")
    (folder / "needy_plugins.py").write_text(PLUGINS)
    environment = {
        **os.environ,
        "INSTAX3D_DEV_PLUGINS": "needy_plugins",
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-c", CHECK, json.dumps([case.split(" & ") for case in CASES])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_needs_are_compared_before_torch_is_imported(said, case):
    assert CASES[case] in said[case]
