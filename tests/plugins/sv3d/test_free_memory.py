"""Free memory on Linux, macOS and Windows, and within the control groups of containers and batch queues."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from instax3d_plugins.sv3d import free_memory as module
from instax3d_plugins.sv3d.free_memory import free_memory

from instax3d.io import control_groups

CPU = torch.device("cpu")
GB = 10**9


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A machine with 40 GB available and no control groups, as macOS and Windows are."""
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=40 * GB))
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "self_cgroup")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "cgroup")
    return tmp_path


def write_group(folder: Path, *, limit: int | str, usage: int, cache: int = 0, v1: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    limit_file, usage_file = ("limit_in_bytes", "usage_in_bytes") if v1 else ("max", "current")
    (folder / f"memory.{limit_file}").write_text(f"{limit}\n")
    (folder / f"memory.{usage_file}").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon {usage - cache}\n{'total_' if v1 else ''}inactive_file {cache}\n")


def test_without_proc_free_memory_is_what_the_system_says(system):
    assert free_memory(CPU) == 40 * GB


def test_a_container_s_limit_counts_without_its_page_cache(system):
    (system / "self_cgroup").write_text("0::/\n")
    write_group(system / "cgroup", limit=16 * GB, usage=10 * GB, cache=4 * GB)
    assert free_memory(CPU) == 10 * GB


def test_the_tightest_of_nested_groups_counts(system):
    (system / "self_cgroup").write_text("0::/jobs/7\n")
    write_group(system / "cgroup" / "jobs" / "7", limit="max", usage=GB)
    write_group(system / "cgroup" / "jobs", limit=8 * GB, usage=5 * GB)
    assert free_memory(CPU) == 3 * GB


def test_groups_of_version_1_and_hidden_groups_are_read(system):
    (system / "self_cgroup").write_text("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n")
    write_group(system / "cgroup" / "memory", limit=6 * GB, usage=2 * GB, cache=GB, v1=True)
    assert free_memory(CPU) == 5 * GB
    write_group(system / "cgroup" / "memory", limit=2**63 - 4096, usage=2 * GB, v1=True)
    assert free_memory(CPU) == 40 * GB


def test_a_group_beyond_its_limit_leaves_nothing(system):
    (system / "self_cgroup").write_text("0::/\n")
    write_group(system / "cgroup", limit=GB, usage=2 * GB)
    assert free_memory(CPU) == 0


def test_this_machine_has_free_memory():
    assert 10**7 < free_memory(CPU) < 10**15
