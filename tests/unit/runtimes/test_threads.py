"""CPUs of the cgroup, and threads of a replica."""

import pytest

from runtimes.threads import available_cpus, cgroup_folders, cpus_of, quota_of, threads_for


@pytest.mark.parametrize(
    ("cpus", "replicas", "expected"),
    [(1, 1, 1), (2, 1, 1), (8, 1, 7), (8, 2, 3), (8, 16, 1), (4, 0, 3)],
)
def test_one_cpu_stays_free_of_engines(cpus: int, replicas: int, expected: int) -> None:
    """Replicas share what is left when one CPU is kept for loops and HAProxy; each gets one."""
    assert threads_for(cpus, replicas) == expected


@pytest.mark.parametrize(
    ("affinity", "quotas", "expected"),
    [(8, [], 8), (8, [1.5], 2), (2, [4.0], 2), (8, [0.1], 1), (8, [6.0, 3.0], 3)],
)
def test_the_tightest_limit_counts(affinity: int, quotas: list[float], expected: int) -> None:
    """Affinity and every quota on the way bind; a part of a CPU rounds up."""
    assert cpus_of(affinity, quotas) == expected


@pytest.mark.parametrize(
    ("cpu_max", "cfs_quota", "cfs_period", "expected"),
    [
        ("150000 100000\n", "", "", 1.5),
        ("max 100000\n", "", "", None),
        ("", "200000\n", "100000\n", 2.0),
        ("", "-1\n", "100000\n", None),
        ("", "", "", None),
        ("nonsense", "", "", None),
    ],
)
def test_quota_is_read_from_both_versions(
    cpu_max: str, cfs_quota: str, cfs_period: str, expected: float | None
) -> None:
    """Versions 2 and 1 of cgroups say the same thing in different files; no limit is None."""
    assert quota_of(cpu_max, cfs_quota, cfs_period) == expected


def test_every_enclosing_group_binds() -> None:
    """A quota of a parent group binds its children, so all folders up to the root are read."""
    folders = cgroup_folders("0::/kubepods/pod1\n3:cpu,cpuacct:/docker\n2:memory:/docker\n")

    assert {"", "kubepods", "kubepods/pod1", "cpu,cpuacct/docker"} <= set(folders)
    assert not any("memory" in folder for folder in folders)


def test_this_process_has_a_cpu() -> None:
    """On any machine the answer is at least 1."""
    assert available_cpus() >= 1
