"""Our own metrics of nodes, GPUs and environments; those with Triton's names are in `catalogue`."""

from typing import Final

from serving.monitor.metric_spec import MetricSpec, When, of_gpu, of_version

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

GPU_MEMORY_BUSY: Final = of_gpu(
    "bascule_gpu_memory_busy_ratio", "gauge", "Share of the time in which GPU memory was used"
)
GPU_TEMPERATURE: Final = of_gpu(
    "bascule_gpu_temperature_celsius", "gauge", "Temperature of the GPU's core"
)
GPU_CLOCK: Final = of_gpu("bascule_gpu_clock_hertz", "gauge", "A clock of the GPU now", "clock")
GPU_MAX_CLOCK: Final = of_gpu(
    "bascule_gpu_max_clock_hertz", "gauge", "The most that a clock of the GPU can be", "clock"
)
GPU_THROTTLED: Final = of_gpu(
    "bascule_gpu_throttled", "gauge", "1 for each reason why its clocks are lower now", "reason"
)
GPU_ECC: Final = of_gpu(
    "bascule_gpu_ecc_errors_total",
    "counter",
    "Memory errors since the driver started: corrected, uncorrected",
    "kind",
)
GPU_PROCESS_MEMORY: Final = of_gpu(
    "bascule_gpu_process_memory_bytes",
    "gauge",
    "GPU memory that a worker holds; worker 'other': processes that are none of ours",
    "worker",
)
GPU_XIDS: Final = of_gpu(
    "bascule_gpu_xid_errors_total",
    "counter",
    "Xid errors that were heard of since workers' supervisors started, by number",
    "xid",
)
