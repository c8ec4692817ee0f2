"""Data that break their contract more often than it allows, or that are too old. Pure."""

from collections.abc import Iterator
from typing import Final

from serving.monitor.alarms.sign import CONTRACT, OUTDATED, Sign
from serving.monitor.drift.severity import Severity
from serving.monitor.quality.report import QualityReport
from serving.registry.contracts.data_contract import DataContract

DAY_S: Final = 86_400.0
MUCH: Final = 3.0
"""So many times the limit is critical."""


def contract_signs(report: QualityReport) -> Iterator[Sign]:
    """Say which rates of a contract's window are over their limits."""
    for rate in report.alarms():
        is_much = rate.limit > 0 and rate.rate >= MUCH * rate.limit
        yield Sign(
            kind=CONTRACT,
            name=rate.rule,
            value=rate.rate,
            limit=rate.limit,
            severity=Severity.CRITICAL if is_much else Severity.WARNING,
            text=(
                f"{rate.rule}: {rate.rate:.2%} of {report.window.row_count:,} rows in the last "
                f"{report.limits.window_s:g} s, the contract allows {rate.limit:.2%}"
            ),
        )


def age_signs(contract: DataContract, now_s: float) -> Iterator[Sign]:
    """Say which data are older than a contract wants them to be."""
    limit_s = contract.age_limits.warn_s
    if limit_s is None:
        return
    known = {
        "reference data": contract.reference_until_s,
        "training data": contract.trained_until_s,
    }
    for name, until_s in known.items():
        if until_s is not None and now_s - until_s > limit_s:
            age_s = now_s - until_s
            yield Sign(
                kind=OUTDATED,
                name=name,
                value=age_s,
                limit=limit_s,
                severity=Severity.WARNING,
                text=(
                    f"{name} are {age_s / DAY_S:.0f} days old, the contract wants them to be "
                    f"{limit_s / DAY_S:.0f} at most"
                ),
            )
