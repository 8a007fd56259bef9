"""As many processors are used as a container allows, not as many as its host has."""

import os

import pytest

from instax3d.io import control_groups, processors


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Control groups of a machine with 64 processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_affinity_of_the_process_counts(monkeypatch, cgroups):
    assert processors.available_processors() == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert processors.available_processors() == 2


def test_the_smallest_quota_of_nested_groups_counts(cgroups):
    put(cgroups / "membership", "0::/user/job\n")
    put(cgroups / "cpu.max", "max 100000\n")
    put(cgroups / "user" / "cpu.max", "250000 100000\n")
    put(cgroups / "user" / "job" / "cpu.max", "max 100000\n")
    assert processors.available_processors() == 3


def test_a_container_that_sees_only_its_own_group_is_limited_too(cgroups):
    put(cgroups / "membership", "0::/docker/0123\n")
    put(cgroups / "cpu.max", "50000 100000\n")
    assert processors.available_processors() == 1


def test_the_older_control_groups_are_read_too(cgroups):
    put(cgroups / "membership", "3:cpu,cpuacct:/job\n1:name=systemd:/\n")
    put(cgroups / "cpu" / "job" / "cpu.cfs_quota_us", "400000\n")
    put(cgroups / "cpu" / "job" / "cpu.cfs_period_us", "100000\n")
    assert processors.available_processors() == 4
    put(cgroups / "cpu" / "job" / "cpu.cfs_quota_us", "-1\n")
    assert processors.available_processors() == 64
