"""Our own metrics of nodes, GPUs and environments; those with Triton's names are in `catalogue`."""

from typing import Final

from serving.monitor.metric_spec import MetricSpec, When, of_version

ENVIRONMENT: Final = of_version(
    "bascule_environment_info",
    "gauge",
    "1, with the fingerprint of all that can change the version's results in a worker",
    "worker",
    "fingerprint",
    when=When.WORKER,
)
ENVIRONMENT_ISSUES: Final = MetricSpec(
    name="bascule_environment_issues",
    kind="gauge",
    help="What is wrong with the environments of workers now: under_worker, replicas_differ, "
    "condition",
    labels=("kind",),
)
ENVIRONMENT_CHANGES: Final = MetricSpec(
    name="bascule_environment_changes_total",
    kind="counter",
    help="Changes of environments that were told of since the controller started, by kind",
    labels=("kind",),
)
STALLED: Final = MetricSpec(
    name="bascule_node_stalled_seconds_total",
    kind="counter",
    help="Time for which some task of the node waited for cpu, memory or io (pressure stall "
    "information)",
    labels=("resource",),
    when=When.KERNEL,
)
STOLEN: Final = MetricSpec(
    name="bascule_node_steal_seconds_total",
    kind="counter",
    help="CPU time that the hypervisor gave to others while the node wanted to run",
    when=When.KERNEL,
)
THROTTLED: Final = MetricSpec(
    name="bascule_node_throttled_periods_total",
    kind="counter",
    help="Periods in which the cgroup's CPU quota was used up",
    when=When.KERNEL,
)
THERMAL: Final = MetricSpec(
    name="bascule_node_cpu_thermal_throttles_total",
    kind="counter",
    help="How often a CPU was slowed down because it was hot",
    when=When.KERNEL,
)
