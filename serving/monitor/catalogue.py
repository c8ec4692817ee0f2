"""Every metric: name, kind, unit, labels, help. Nobody else spells a metric's name.

`nv_*` are Triton's names, units and labels, so its dashboards and `perf_analyzer` work; `bascule_*`
are ours. HAProxy's own (`haproxy_*`) are passed on as they come; `haproxy_catalogue` has those that
rules and boards look at, `node_catalogue` our own of nodes. `METRICS.md` is made of all.
"""

from typing import Final

from serving.monitor.metric_spec import (
    MetricSpec,
    When,
    histogram_of_version,
    of_gpu,
    of_version,
)
from serving.monitor.stages import EDGES_S

REQUEST_SUCCESS: Final = of_version(
    "nv_inference_request_success", "counter", "Number of successful inference requests"
)
REQUEST_FAILURE: Final = of_version(
    "nv_inference_request_failure", "counter", "Number of failed inference requests", "reason"
)
REQUEST_FAULTS: Final = of_version(
    "bascule_request_faults_total",
    "counter",
    "Clients' calls that failed by no mistake of theirs: failures without copies in shadow "
    "traffic, inputs that the engine refused, and clients that left",
)
INFERENCES: Final = of_version(
    "nv_inference_count", "counter", "Number of inferences performed, by rows"
)
EXECUTIONS: Final = of_version(
    "nv_inference_exec_count", "counter", "Number of model executions performed"
)
PENDING: Final = of_version(
    "nv_inference_pending_request_count", "gauge", "Requests accepted and not yet executing"
)
REQUEST_US: Final = of_version(
    "nv_inference_request_duration_us", "counter", "Cumulative request duration in microseconds"
)
QUEUE_US: Final = of_version(
    "nv_inference_queue_duration_us", "counter", "Cumulative queuing duration in microseconds"
)
COMPUTE_INPUT_US: Final = of_version(
    "nv_inference_compute_input_duration_us",
    "counter",
    "Cumulative duration of putting inputs together, in microseconds",
)
COMPUTE_INFER_US: Final = of_version(
    "nv_inference_compute_infer_duration_us",
    "counter",
    "Cumulative duration of running the model, in microseconds",
)
COMPUTE_OUTPUT_US: Final = of_version(
    "nv_inference_compute_output_duration_us",
    "counter",
    "Cumulative duration of handing outputs over, in microseconds",
)
REQUEST_SECONDS: Final = histogram_of_version(
    "bascule_request_duration_seconds",
    EDGES_S,
    "Answered calls by how long they took, from receipt in the worker to the reply's handing over",
    "transport",
)
STAGE_SECONDS: Final = histogram_of_version(
    "bascule_stage_duration_seconds",
    EDGES_S,
    "The same calls by what each stage took: queue, batch (putting inputs together), compute, "
    "encode; a call of a merged batch is charged the whole batch's",
    "transport",
    "stage",
)
CACHE_HITS: Final = of_version(
    "nv_cache_num_hits_per_model",
    "counter",
    "Number of requests answered from the response cache",
    when=When.CACHE,
)
CACHE_MISSES: Final = of_version(
    "nv_cache_num_misses_per_model",
    "counter",
    "Number of requests that the cache did not know",
    when=When.CACHE,
)
CACHE_HIT_US: Final = of_version(
    "nv_cache_hit_duration_per_model",
    "counter",
    "Cumulative duration of finding answers in the cache, in microseconds",
    when=When.CACHE,
)
CACHE_MISS_US: Final = of_version(
    "nv_cache_miss_duration_per_model",
    "counter",
    "Cumulative duration of looking in vain and of keeping answers, in microseconds",
    when=When.CACHE,
)
LOAD_SECONDS: Final = of_version("nv_model_load_duration_secs", "gauge", "Model load time")
LOGGED: Final = of_version(
    "bascule_prediction_log_records_total",
    "counter",
    "Predictions that were written to the log",
    when=When.PREDICTION_LOG,
)
LOGGED_BYTES: Final = of_version(
    "bascule_prediction_log_bytes_total",
    "counter",
    "Bytes that were written to the log",
    when=When.PREDICTION_LOG,
)
LOG_LOST: Final = of_version(
    "bascule_prediction_log_lost_total",
    "counter",
    "Answered predictions that the log was to keep and lost, by reason",
    "reason",
    when=When.PREDICTION_LOG,
)

CPU_UTILIZATION: Final = MetricSpec(
    name="nv_cpu_utilization", kind="gauge", help="CPU utilization rate [0.0 - 1.0]"
)
CPU_MEMORY_TOTAL: Final = MetricSpec(
    name="nv_cpu_memory_total_bytes", kind="gauge", help="CPU total memory, in bytes"
)
CPU_MEMORY_USED: Final = MetricSpec(
    name="nv_cpu_memory_used_bytes", kind="gauge", help="CPU used memory, in bytes"
)
PINNED_TOTAL: Final = MetricSpec(
    name="nv_pinned_memory_pool_total_bytes",
    kind="gauge",
    help="Pinned memory pool total memory size, in bytes; there is no such pool here",
)
PINNED_USED: Final = MetricSpec(
    name="nv_pinned_memory_pool_used_bytes",
    kind="gauge",
    help="Pinned memory pool used memory size, in bytes; there is no such pool here",
)
GPU_UTILIZATION: Final = of_gpu("nv_gpu_utilization", "gauge", "GPU utilization rate [0.0 - 1.0]")
GPU_MEMORY_TOTAL: Final = of_gpu("nv_gpu_memory_total_bytes", "gauge", "GPU total memory, in bytes")
GPU_MEMORY_USED: Final = of_gpu("nv_gpu_memory_used_bytes", "gauge", "GPU used memory, in bytes")
GPU_POWER_USAGE: Final = of_gpu("nv_gpu_power_usage", "gauge", "GPU power usage in watts")
GPU_POWER_LIMIT: Final = of_gpu("nv_gpu_power_limit", "gauge", "GPU power limit in watts")
GPU_ENERGY: Final = of_gpu(
    "nv_energy_consumption", "counter", "GPU energy consumption in joules since the driver started"
)

VIOLATIONS: Final = of_version(
    "bascule_contract_violations_total",
    "counter",
    "Rows that broke a rule of the version's data contract",
    "input",
    "rule",
    "action",
    when=When.CONTRACT,
)
CONTRACT_ROWS: Final = of_version(
    "bascule_contract_rows_total", "counter", "Rows that a data contract judged", when=When.CONTRACT
)
CONTRACT_BAD_ROWS: Final = of_version(
    "bascule_contract_violating_rows_total",
    "counter",
    "Rows that broke at least one rule of the data contract",
    when=When.CONTRACT,
)
CONTRACT_REJECTED: Final = of_version(
    "bascule_contract_rejected_requests_total",
    "counter",
    "Requests that the data contract refused",
    when=When.CONTRACT,
)
CONTRACT_WITHHELD: Final = of_version(
    "bascule_contract_withheld_answers_total",
    "counter",
    "Answers that were not sent because the model's outputs broke the data contract",
    when=When.CONTRACT,
)
MISSING_VALUES: Final = of_version(
    "bascule_missing_values_total",
    "counter",
    "Missing values in requests, by how: nan, token, empty, absent",
    "input",
    "kind",
    when=When.CONTRACT,
)
CONTRACT_RATE: Final = of_version(
    "bascule_contract_window_rate",
    "gauge",
    "Share of the window's rows, for each limit that the data contract sets",
    "rule",
    when=When.CONTRACT_LIMIT,
)
CONTRACT_ALARM: Final = of_version(
    "bascule_contract_alarm",
    "gauge",
    "1 if that share is over its limit and the window has enough rows",
    "rule",
    when=When.CONTRACT_LIMIT,
)
EVENT_LAG: Final = of_version(
    "bascule_event_lag_seconds",
    "gauge",
    "Age of the oldest event of the latest request that said when it happened",
    when=When.AGE,
)
REFERENCE_AGE: Final = of_version(
    "bascule_reference_age_seconds",
    "gauge",
    "Time since the end of the reference data",
    when=When.AGE,
)
TRAINING_AGE: Final = of_version(
    "bascule_model_training_age_seconds",
    "gauge",
    "Time since the end of the training data",
    when=When.AGE,
)

DRIFT_SCORE: Final = of_version(
    "bascule_drift_score",
    "gauge",
    "How far a column's rows are from the reference, over the threshold: 1 is an alarm",
    "feature",
    when=When.DRIFT,
)
DRIFT_EFFECT: Final = of_version(
    "bascule_drift_effect",
    "gauge",
    "How far a column moved: distance in standard deviations, or change of a share",
    "feature",
    when=When.DRIFT,
)
DRIFT_ROWS: Final = of_version(
    "bascule_drift_rows_total",
    "counter",
    "Rows that were watched for drift, by all workers",
    when=When.DRIFT,
)
DRIFT_FAILED: Final = of_version(
    "bascule_drift_failed",
    "gauge",
    "1 if the version's rows should be watched for drift, and cannot be",
    when=When.DRIFT,
)
DRIFT_UPDATE: Final = of_version(
    "bascule_drift_last_update_timestamp_seconds",
    "gauge",
    "When the newest watched rows came",
    when=When.DRIFT,
)
DRIFT_ALARMS: Final = of_version(
    "bascule_drift_alarms_total",
    "counter",
    "Alarms of drift that were told",
    "severity",
    when=When.DRIFT,
)
DRIFT_OPEN: Final = of_version(
    "bascule_drift_open_alarms",
    "gauge",
    "Alarms of drift that are open, seen or not",
    "severity",
    when=When.DRIFT,
)
MONITOR_SKIPPED: Final = of_version(
    "bascule_monitor_rows_skipped_total",
    "counter",
    "Rows that were chosen to be watched for drift and not counted: the monitor was too slow",
    when=When.DRIFT,
)

SCALE_WANTED: Final = of_version(
    "bascule_scale_wanted_replicas",
    "gauge",
    "Workers that a scaled version shall have",
    when=When.SCALED,
)
SCALE_READY: Final = of_version(
    "bascule_scale_ready_replicas",
    "gauge",
    "Workers of a scaled version that answer",
    when=When.SCALED,
)
SCALE_CHANGES: Final = of_version(
    "bascule_scale_changes_total",
    "counter",
    "Changes of the number of workers that a scaled version shall have, by cause: calls, busy, "
    "latency, low, idle, first_call, bounds",
    "cause",
    when=When.SCALED,
)

VERSIONS_BY_STATE: Final = MetricSpec(
    name="bascule_versions", kind="gauge", help="Model versions by state", labels=("state",)
)
VERSION_READY: Final = of_version(
    "bascule_version_ready", "gauge", "1 if the version can answer", when=When.KNOWN
)
FINDINGS: Final = of_version(
    "bascule_preflight_findings",
    "gauge",
    "What preflight noticed of a version, by code",
    "code",
    "severity",
    when=When.FINDING,
)
EVENTS: Final = MetricSpec(
    name="bascule_events",
    kind="gauge",
    help="Events of the outbox by receiver and state: DELIVERED, PENDING, DEAD",
    labels=("receiver", "state"),
    when=When.RECEIVER,
)
READY: Final = MetricSpec(
    name="bascule_ready", kind="gauge", help="1 if every wanted version can answer"
)
ROUTE_REVISION: Final = MetricSpec(
    name="bascule_route_revision", kind="gauge", help="Route table revision that the edge obeys"
)
EDGE_RESTARTS: Final = MetricSpec(
    name="bascule_edge_restarts_total", kind="counter", help="Restarts of this node's HAProxy"
)
WORKER_RESTARTS: Final = MetricSpec(
    name="bascule_worker_restarts_total",
    kind="counter",
    help="Restarts of a worker process after it ended by itself",
    labels=("pool", "worker"),
    when=When.WORKER,
)
WORKER_RSS: Final = MetricSpec(
    name="bascule_worker_rss_bytes",
    kind="gauge",
    help="Resident memory of a worker process",
    labels=("pool", "worker"),
    when=When.WORKER,
)
