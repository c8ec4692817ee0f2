"""The board of nodes: processors, memory, GPUs, workers, HAProxy."""

from serving.monitor import catalogue, edge_catalogue, haproxy_catalogue, node_catalogue
from serving.monitor.boards.layout import Board, Row
from serving.monitor.boards.queries import JOBS, line, per_second, value


def node_board() -> Board:
    """Return the board."""
    return Board(
        name="node",
        title="Bascule: nodes and GPUs",
        about="What the machines do.",
        variables=(JOBS,),
        rows=(
            _nodes(),
            _edge(),
            _pressure(),
            _gpus(),
            _gpu_health(),
        ),
    )


def _nodes() -> Row:
    """Show machines, workers and HAProxy."""
    used = value(catalogue.CPU_MEMORY_USED, by="instance")
    total = value(catalogue.CPU_MEMORY_TOTAL, by="instance")
    proxy = 'proxy=~"http|grpc"'
    by = "instance, proxy"
    return Row(
        title="Nodes",
        panels=(
            line(
                "Processors",
                value(catalogue.CPU_UTILIZATION, by="instance"),
                "{{instance}}",
                "percentunit",
            ),
            line("Memory", f"{used} / {total}", "{{instance}}", "percentunit"),
            line(
                "Memory of workers",
                value(catalogue.WORKER_RSS, by="pool, worker"),
                "{{pool}} {{worker}}",
                "bytes",
            ),
            line(
                "HAProxy's spare time",
                value(haproxy_catalogue.IDLE, by="instance", how="min"),
                "{{instance}}",
                "percent",
            ),
            line(
                "Connections",
                value(haproxy_catalogue.FRONTEND_SESSIONS, proxy, by=by),
                "{{instance}} {{proxy}}",
            ),
            line(
                "Requests",
                per_second(haproxy_catalogue.FRONTEND_REQUESTS, proxy, by=by),
                "{{instance}} {{proxy}}",
                "reqps",
            ),
            line(
                "Bytes from clients",
                per_second(haproxy_catalogue.FRONTEND_BYTES_IN, proxy, by=by),
                "{{instance}} {{proxy}}",
                "Bps",
            ),
            line(
                "Bytes to clients",
                per_second(haproxy_catalogue.FRONTEND_BYTES_OUT, proxy, by=by),
                "{{instance}} {{proxy}}",
                "Bps",
            ),
        ),
    )


def _edge() -> Row:
    """Show what HAProxy says of pools."""
    times = value(edge_catalogue.EDGE_TIME, by="pool, part")
    again = per_second(edge_catalogue.EDGE_RETRIES, by="pool, way")
    errors = per_second(edge_catalogue.EDGE_ERRORS, by="pool, kind")
    waiting = value(edge_catalogue.EDGE_WAITING, by="pool", how="sum")
    workers = value(edge_catalogue.EDGE_WORKERS_UP, by="pool", how="sum")
    return Row(
        title="Edge",
        panels=(
            line("HAProxy's means", times, "{{pool}} {{part}}", "s", "Of the last 1,024 calls."),
            line("Sent again", again, "{{pool}} {{way}}", "reqps"),
            line("Trouble with workers", errors, "{{pool}} {{kind}}", "reqps"),
            line("Waiting at the edge", waiting, "{{pool}}"),
            line("Workers that get calls", workers, "{{pool}}"),
        ),
    )


def _pressure() -> Row:
    """Show what slows a node down, and whether workers differ."""
    by = "instance"
    stolen = per_second(node_catalogue.STOLEN, by=by)
    throttled = per_second(node_catalogue.THROTTLED, by=by)
    hot = per_second(node_catalogue.THERMAL, by=by)
    issues = value(node_catalogue.ENVIRONMENT_ISSUES, by="kind")
    changes = value(node_catalogue.ENVIRONMENT_CHANGES, by="kind")
    fingerprints = value(node_catalogue.ENVIRONMENT, by="model, version, fingerprint", how="sum")
    stalled = per_second(node_catalogue.STALLED, by=f"{by}, resource")
    return Row(
        title="Environment and pressure",
        panels=(
            line("Time in which tasks waited", stalled, "{{instance}} {{resource}}", "percentunit"),
            line("Processor time that others got", stolen, "{{instance}}", "percentunit"),
            line("Periods over the quota", throttled, "{{instance}}"),
            line("Slowed down by heat", hot, "{{instance}}"),
            line("Environments that are not right", issues, "{{kind}}"),
            line("Changes that were told", changes, "{{kind}}"),
            line(
                "Workers by what they compute with",
                fingerprints,
                "{{model}}:{{version}} {{fingerprint}}",
            ),
        ),
    )


def _gpu_health() -> Row:
    """Show what is wrong with GPUs, and what slows them down."""
    by, legend = "instance, gpu_uuid", "{{instance}} {{gpu_uuid}}"
    clocks = value(node_catalogue.GPU_CLOCK, by=f"{by}, clock")
    share = f"{clocks} / {value(node_catalogue.GPU_MAX_CLOCK, by=f'{by}, clock')}"
    throttled = value(node_catalogue.GPU_THROTTLED, by=f"{by}, reason")
    memory = value(node_catalogue.GPU_PROCESS_MEMORY, by=f"{by}, worker", how="sum")
    ecc = value(node_catalogue.GPU_ECC, by=f"{by}, kind")
    xids = value(node_catalogue.GPU_XIDS, by=f"{by}, xid")
    return Row(
        title="Health of GPUs",
        panels=(
            line("Clocks", share, f"{legend} {{{{clock}}}}", "percentunit", "Of the most."),
            line("Slowed down", throttled, f"{legend} {{{{reason}}}}"),
            line("Memory by worker", memory, f"{legend} {{{{worker}}}}", "bytes"),
            line("Errors of memory", ecc, f"{legend} {{{{kind}}}}"),
            line("Xid errors", xids, f"{legend} {{{{xid}}}}"),
        ),
    )


def _gpus() -> Row:
    """Show GPUs."""
    gpu = "instance, gpu_uuid"
    gpu_legend = "{{instance}} {{gpu_uuid}}"
    busy = value(catalogue.GPU_UTILIZATION, by=gpu)
    memory = value(catalogue.GPU_MEMORY_USED, by=gpu)
    return Row(
        title="GPUs",
        panels=(
            line("Use", busy, gpu_legend, "percentunit"),
            line("Memory", memory, gpu_legend, "bytes"),
            line("Power", value(catalogue.GPU_POWER_USAGE, by=gpu), gpu_legend, "watt"),
            line(
                "Energy",
                per_second(catalogue.GPU_ENERGY, by=gpu),
                gpu_legend,
                "watt",
            ),
        ),
    )
