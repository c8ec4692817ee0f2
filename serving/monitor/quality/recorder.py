"""Counts what one version's contract says in one worker. Belongs to the loop's thread."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from runtimes.contract import Array
from serving.monitor.quality.report import (
    MAX_SAMPLES,
    MissingCount,
    QualityReport,
    RowSample,
    RuleCount,
    WindowCounts,
    WindowLimits,
)
from serving.monitor.quality.verdict import Verdict, Violation
from serving.monitor.traffic import QualityCounts
from serving.registry.contracts.data_contract import DataContract, MissingKind, action_in

SLOTS: Final = 20
"""Parts of the window: it moves on by one at a time."""
MAX_ID_LETTERS: Final = 128


@dataclass(slots=True)
class _Slot:
    number: int
    rows: int = 0
    violating_rows: int = 0
    null_rows: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Broken:
    rows: int = 0
    requests: int = 0
    samples: deque[RowSample] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))


class QualityRecorder:
    """The counters of one loaded version; all instants are seconds since 1970."""

    def __init__(self, contract: DataContract) -> None:
        """Start at zero."""
        self._contract = contract
        self._slot_s = contract.window.window_s / SLOTS
        self._latest = _Slot(0)
        self._slots: deque[_Slot] = deque([self._latest], maxlen=SLOTS)
        self._slot_begin_s = self._slot_end_s = 0.0
        watched = (*contract.inputs, *contract.outputs)
        named = [(one.name, rule) for one in watched for rule in one.rules]
        time = contract.event_time
        named += [(_name_of(rule.id), rule) for rule in time.rules] if time else []
        self._rules = {rule.id: (name, action_in(contract, rule)) for name, rule in named}
        self._broken: dict[str, _Broken] = {id_: _Broken() for id_ in self._rules}
        self._missing: dict[tuple[str, MissingKind], int] = {}
        self._limits = WindowLimits(
            min_rows=contract.window.min_rows,
            window_s=contract.window.window_s,
            max_violation_rate=contract.window.max_violation_rate,
            max_null_rates={
                one.name: one.max_null_rate for one in watched if one.max_null_rate is not None
            },
        )
        self._requests = self._row_count = self._violating_rows = 0
        self.rejected_count = 0
        self.withheld_count = 0
        self.answer_count = 0
        """Answers that were judged; whoever judges them counts."""
        self._broken_answer_count = 0
        self._lag_s: float | None = None

    def pass_requests(self, count: int, rows: int, now_s: float) -> None:
        """Count requests of which there is nothing to say; `rows`: of all together."""
        self._requests += count
        self._row_count += rows
        is_in_latest = self._slot_begin_s <= now_s < self._slot_end_s
        slot = self._latest if is_in_latest else self._slot(now_s)
        slot.rows += rows

    def count_request(
        self, rows: int, verdict: Verdict | None, request_id: str, now_s: float
    ) -> None:
        """Count a request that was judged."""
        self._requests += 1
        self._row_count += rows
        slot = self._slot(now_s)
        slot.rows += rows
        if verdict is not None:
            self._count_rows(verdict.violating_row_count, slot)
            self._count(verdict, slot, request_id, now_s)

    def count_answer(
        self, verdict: Verdict, request_id: str, now_s: float, bad_rows: Array | None = None
    ) -> None:
        """Count an answer about which there is something to say.

        Args:
            verdict: What is said.
            request_id: Of the call.
            now_s: When.
            bad_rows: Marks the rows that broke a rule as they came: they were counted then.
        """
        self._broken_answer_count += bool(verdict.violations)
        slot = self._slot(now_s)
        count = verdict.violating_row_count
        if bad_rows is not None and verdict.bad_rows is not None:
            count -= int(np.count_nonzero(bad_rows & verdict.bad_rows))
        self._count_rows(count, slot)
        self._count(verdict, slot, request_id, now_s)

    def _count_rows(self, violating: int, slot: _Slot) -> None:
        self._violating_rows += violating
        slot.violating_rows += violating

    def _count(self, verdict: Verdict, slot: _Slot, request_id: str, now_s: float) -> None:
        if verdict.lag_s is not None:
            self._lag_s = verdict.lag_s
        for one in verdict.missing:
            place = (one.name, one.kind)
            self._missing[place] = self._missing.get(place, 0) + one.count
        for name, count in verdict.null_rows.items():
            slot.null_rows[name] = slot.null_rows.get(name, 0) + count
        for violation in verdict.violations:
            self._break(violation, request_id[:MAX_ID_LETTERS], now_s)

    def _break(self, violation: Violation, request_id: str, now_s: float) -> None:
        broken = self._broken[violation.rule.id]
        broken.rows += violation.row_count
        broken.requests += 1
        for row in violation.rows:
            value = violation.value if row == violation.rows[0] else ""
            broken.samples.append(
                RowSample(row=row, at_s=now_s, request_id=request_id, value=value)
            )

    def _slot(self, now_s: float) -> _Slot:
        number = int(now_s / self._slot_s)
        if number < self._latest.number - SLOTS:  # set back by more than the window: it begins anew
            self._slots.clear()
        # A clock that was set back by less stays in the latest.
        if number > self._latest.number or not self._slots:
            self._latest = _Slot(number)
            self._slots.append(self._latest)
            self._slot_begin_s = number * self._slot_s
            self._slot_end_s = (number + 1) * self._slot_s
        return self._latest

    def counts(self) -> QualityCounts:
        """Return what guardrails compare: requests, not rows."""
        return QualityCounts(
            judged_count=self._requests,
            refused_count=self.rejected_count,
            answer_count=self.answer_count,
            broken_count=self._broken_answer_count,
        )

    def report(self, now_s: float) -> QualityReport:
        """Return what was counted."""
        contract = self._contract
        window = WindowCounts()
        oldest = self._slot(now_s).number - SLOTS
        for slot in self._slots:
            if slot.number > oldest:
                window += WindowCounts(
                    row_count=slot.rows,
                    violating_row_count=slot.violating_rows,
                    null_rows=slot.null_rows,
                )
        return QualityReport(
            is_draft=contract.is_draft,
            request_count=self._requests,
            row_count=self._row_count,
            violating_row_count=self._violating_rows,
            rejected_request_count=self.rejected_count,
            withheld_answer_count=self.withheld_count,
            rules=tuple(
                RuleCount(
                    rule=id_,
                    name=name,
                    action=action,
                    row_count=self._broken[id_].rows,
                    request_count=self._broken[id_].requests,
                    samples=tuple(self._broken[id_].samples),
                )
                for id_, (name, action) in self._rules.items()
            ),
            missing=tuple(
                MissingCount(name=name, kind=kind, count=count)
                for (name, kind), count in sorted(self._missing.items())
            ),
            window=window,
            limits=self._limits,
            event_lag_s=self._lag_s,
            reference_age_s=_age(contract.reference_until_s, now_s),
            training_age_s=_age(contract.trained_until_s, now_s),
        )


def _age(until_s: float | None, now_s: float) -> float | None:
    return None if until_s is None else now_s - until_s


def _name_of(rule_id: str) -> str:
    return rule_id.rpartition(".")[0]
