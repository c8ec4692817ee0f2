"""How fast error budgets burn: the series that are computed ahead, and the alerts on them.

With a budget for 30 days, burning at 14.4 for an hour spends 2 % of it, at 6 for 6 hours 5 %, at 3
for a day 10 %, at 1 for 3 days 10 %. Each alert wants a long window, so that a short burst does not
ring, and a short one, so that it ends soon after the trouble. A model whose calls are too few is
left out. Where a budget is so large that no share of the calls burns it so fast, nine of ten do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from serving.monitor import catalogue, haproxy_catalogue
from serving.monitor.alarms.service_signs import CERTAIN_SHARE
from serving.monitor.alerting.promql import OURS, Alert, Recording, bucket_end, but, rate
from serving.monitor.alerting.slo import Slo, availability_of, latency_of

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
MODEL: Final = ("job", "model")
ERRORS: Final = "bascule:request_errors:ratio_rate"
SLOW: Final = "bascule:request_slow:ratio_rate"
EDGE_ERRORS: Final = "bascule:edge_errors:ratio_rate"
CALLS: Final = "bascule:requests:rate"


@dataclass(frozen=True, slots=True)
class _Burn:
    long: str
    short: str
    factor: float


PAGES: Final = (_Burn("1h", "5m", 14.4), _Burn("6h", "30m", 6))
TICKETS: Final = (_Burn("1d", "2h", 3), _Burn("3d", "6h", 1))


def budget_series(slo: Slo) -> Iterator[Recording]:
    """Give what is computed ahead, for each window."""
    http = f'proxy="http",job="{slo.job}"'
    for window in WINDOWS:
        failed = rate(catalogue.REQUEST_FAULTS, window, by=MODEL)
        answered = rate(catalogue.REQUEST_SUCCESS, window, by=MODEL)
        yield Recording(name=f"{CALLS}{window}", expression=f"{answered} + {failed}")
        yield Recording(name=f"{ERRORS}{window}", expression=f"{failed} / ({answered} + {failed})")
        yield Recording(name=f"{SLOW}{window}", expression=" or ".join(_slow(slo, window)))
        broken = rate(haproxy_catalogue.FRONTEND_RESPONSES, window, http, 'code="5xx"', by=("job",))
        replies = rate(haproxy_catalogue.FRONTEND_RESPONSES, window, http, by=("job",))
        yield Recording(name=f"{EDGE_ERRORS}{window}", expression=f"{broken} / ({replies} > 0)")


def budget_alerts(slo: Slo) -> Iterator[Alert]:
    """Give the alerts."""
    yield from _alerts(
        slo,
        "BasculeErrorBudget",
        ERRORS,
        {model: 1 - availability_of(slo, model) for model in slo.models},
        1 - slo.availability,
    )
    yield from _alerts(
        slo,
        "BasculeLatencyBudget",
        SLOW,
        {model: 1 - latency_of(slo, model).target for model in slo.models},
        1 - slo.latency.target,
    )
    for burns, severity, name in _ways("BasculeEdgeErrorBudget"):
        yield Alert(
            name=name,
            expression=" or ".join(
                f"({EDGE_ERRORS}{burn.long} > {_limit(burn, 1 - slo.availability)} and "
                f"{EDGE_ERRORS}{burn.short} > {_limit(burn, 1 - slo.availability)})"
                for burn in burns
            ),
            severity=severity,
            summary="{{ $value | humanizePercentage }} of the HTTP replies of {{ $labels.job }} "
            "are 5xx",
            action="Look at `bascule status`: versions that are not ready, workers that restart.",
        )


def _slow(slo: Slo, window: str) -> Iterator[str]:
    """Give the share of slow calls: of models without a limit of their own, then of each other."""
    own = sorted(model for model, each in slo.models.items() if each.latency is not None)
    for model in ("", *own):
        threshold = latency_of(slo, model).threshold_s
        which = f'model="{model}"' if model else but(own)
        metric = catalogue.REQUEST_SECONDS
        fast = rate(metric, window, OURS, bucket_end(threshold), which, by=MODEL, part="bucket")
        every = rate(metric, window, OURS, which, by=MODEL, part="count")
        yield f"(1 - {fast} / ({every} > 0))"


def _alerts(
    slo: Slo, name: str, ratio: str, own: Mapping[str, float], common: float
) -> Iterator[Alert]:
    what = "failed" if ratio == ERRORS else "were slower than promised"
    special = {model: budget for model, budget in own.items() if budget != common}
    for burns, severity, full_name in _ways(name):
        terms = [_burning(slo, ratio, burn, common, but(sorted(special))) for burn in burns]
        for model, budget in sorted(special.items()):
            which = f'model="{model}"'
            terms.extend(_burning(slo, ratio, burn, budget, which) for burn in burns)
        yield Alert(
            name=full_name,
            expression="\nor ".join(terms),
            severity=severity,
            summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.model }} " + what,
            action="Compare versions on the board of the model; a rollout may be taken back with "
            "`bascule rollback MODEL`.",
        )


def _ways(name: str) -> tuple[tuple[tuple[_Burn, ...], str, str], ...]:
    return ((PAGES, "page", f"{name}BurnsFast"), (TICKETS, "warning", f"{name}BurnsSlowly"))


def _burning(slo: Slo, ratio: str, burn: _Burn, budget: float, which: str) -> str:
    limit = _limit(burn, budget)
    braces = f"{{{which}}}" if which else ""
    return (
        f"({ratio}{burn.long}{braces} > {limit} and {ratio}{burn.short}{braces} > {limit} "
        f"and {CALLS}{burn.long}{braces} > {_number(slo.min_calls_per_s)})"
    )


def _limit(burn: _Burn, budget: float) -> str:
    return _number(min(burn.factor * budget, CERTAIN_SHARE))


def _number(value: float) -> str:
    return f"{value:.6g}"
