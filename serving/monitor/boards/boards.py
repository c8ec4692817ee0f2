"""The boards: an instance at a glance, one model, its data, a rollout, a node."""

from collections.abc import Iterator

from serving.monitor import catalogue, haproxy_catalogue
from serving.monitor.alerting.promql import OURS, series
from serving.monitor.boards.data_board import data_board
from serving.monitor.boards.layout import Board, Panel, Query, Row
from serving.monitor.boards.node_board import node_board
from serving.monitor.boards.queries import (
    JOB,
    JOBS,
    MODEL,
    MODELS,
    calls,
    failed_share,
    failures,
    latency_panel,
    line,
    number,
    per_second,
    quantile,
    value,
)


def all_boards() -> Iterator[Board]:
    """Give every board."""
    yield _overview()
    yield _model()
    yield data_board()
    yield _rollout()
    yield node_board()


def _overview() -> Board:
    return Board(
        name="overview",
        title="Bascule: overview",
        about="Is it ready, what is asked, what fails, how long does it take.",
        variables=(JOBS,),
        rows=(
            _now(),
            _traffic(),
            _parts(),
        ),
    )


def _now() -> Row:
    """Show numbers of this moment."""
    return Row(
        title="Now",
        panels=(
            number("Nodes that are ready", f"sum({series(catalogue.READY, JOB)})"),
            number(
                "Models that cannot answer",
                f"count({value(catalogue.VERSION_READY, by='model')} == 0) or vector(0)",
            ),
            number("Calls a second", f"sum({calls('job')})", "reqps"),
            number("Failed", failed_share("job"), "percentunit"),
            number(
                "p99",
                quantile(0.99, catalogue.REQUEST_SECONDS, OURS, by="job"),
                "s",
            ),
            number("Calls that wait", value(catalogue.PENDING, by="job", how="sum")),
        ),
    )


def _traffic() -> Row:
    """Show calls over time."""
    return Row(
        title="Traffic",
        panels=(
            line("Calls", calls("model"), "{{model}}", "reqps"),
            line("Failures", failures("model, reason"), "{{model}} {{reason}}", "reqps"),
            latency_panel("Latency", "model", "{{model}}"),
            line("Waiting", value(catalogue.PENDING, by="model", how="sum"), "{{model}}"),
        ),
    )


def _parts() -> Row:
    """Show versions, workers, events and the edge."""
    told = value(catalogue.EVENTS, by="receiver, state")
    states = f"sum by (state) ({series(catalogue.VERSIONS_BY_STATE, JOB)})"
    return Row(
        title="Parts",
        panels=(
            line("Versions by state", states, "{{state}}"),
            line(
                "Restarts of workers in 15 minutes",
                f"max by (pool, worker) (increase({series(catalogue.WORKER_RESTARTS, JOB)}[15m]))",
                "{{pool}} {{worker}}",
            ),
            line("Events", told, "{{receiver}} {{state}}"),
            line(
                "Replies of the edge",
                per_second(
                    haproxy_catalogue.FRONTEND_RESPONSES,
                    'proxy=~"http|grpc"',
                    by="proxy, code",
                ),
                "{{proxy}} {{code}}",
                "reqps",
                "All replies of gRPC are 2xx here, whatever their status.",
            ),
        ),
    )


def _model() -> Board:
    return Board(
        name="model",
        title="Bascule: model",
        about="Where the time of a model's calls goes, version by version.",
        variables=(JOBS, MODELS),
        rows=(
            _calls(),
            _stages(),
        ),
    )


def _calls() -> Row:
    """Show what becomes of calls."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    return Row(
        title="Calls",
        panels=(
            line("Calls", calls(version, MODEL), legend, "reqps"),
            line("Failed", failed_share(version, MODEL), legend, "percentunit"),
            latency_panel("Latency", version, legend, MODEL),
            latency_panel("Latency by transport", "transport", "{{transport}}", MODEL),
        ),
    )


def _stages() -> Row:
    """Show where their time goes."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    spent = per_second(catalogue.STAGE_SECONDS, OURS, MODEL, by=f"{version}, stage", part="sum")
    count = per_second(catalogue.REQUEST_SECONDS, OURS, MODEL, by=version, part="count")
    stages = Query(
        expression=f"{spent} / on ({version}) group_left () ({count} > 0)",
        legend=f"{legend} {{{{stage}}}}",
    )
    rows_per_run = per_second(catalogue.INFERENCES, MODEL, by=version)
    runs = per_second(catalogue.EXECUTIONS, MODEL, by=version)
    hits = per_second(catalogue.CACHE_HITS, MODEL, by=version)
    misses = per_second(catalogue.CACHE_MISSES, MODEL, by=version)
    kept = f"{hits} / ({hits} + {misses})"
    return Row(
        title="Stages",
        panels=(
            Panel(
                title="Mean time in each stage",
                unit="s",
                about="queue, batch (putting inputs together), compute, encode",
                queries=(stages,),
            ),
            line(
                "p99 of each stage",
                quantile(0.99, catalogue.STAGE_SECONDS, OURS, MODEL, by="stage"),
                "{{stage}}",
                "s",
            ),
            line("Rows a run", f"{rows_per_run} / ({runs} > 0)", legend),
            line("Waiting", value(catalogue.PENDING, MODEL, by=version, how="sum"), legend),
            line("Answered from the cache", kept, legend, "percentunit"),
            line(
                "Seconds to load",
                value(catalogue.LOAD_SECONDS, MODEL, by=version),
                legend,
                "s",
            ),
        ),
    )


def _rollout() -> Board:
    return Board(
        name="rollout",
        title="Bascule: rollout",
        about="The versions of a model side by side while traffic moves.",
        variables=(JOBS, MODELS),
        rows=(
            _side_by_side(),
            _readiness(),
        ),
    )


def _side_by_side() -> Row:
    """Show versions against each other."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    every = calls("model", MODEL)
    return Row(
        title="Side by side",
        panels=(
            line(
                "Share of the calls",
                f"{calls(version, MODEL)} / on (model) group_left () ({every} > 0)",
                legend,
                "percentunit",
                "Copies of shadow traffic count for the version that answers them.",
            ),
            line("Failed", failed_share(version, MODEL), legend, "percentunit"),
            latency_panel("Latency", version, legend, MODEL),
            line(
                "Copies in shadow traffic",
                per_second(
                    catalogue.REQUEST_SECONDS,
                    'transport="copy"',
                    MODEL,
                    by=version,
                    part="count",
                ),
                legend,
                "reqps",
            ),
        ),
    )


def _readiness() -> Row:
    """Show what is ready, and what routes are obeyed."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    return Row(
        title="Readiness",
        panels=(
            line("Ready", value(catalogue.VERSION_READY, MODEL, by=version), legend),
            line(
                "Route revision of each node",
                value(catalogue.ROUTE_REVISION, by="instance"),
                "{{instance}}",
            ),
            line(
                "Findings of preflight",
                value(catalogue.FINDINGS, MODEL, by=f"{version}, code, severity"),
                f"{legend} {{{{code}}}} {{{{severity}}}}",
            ),
        ),
    )
