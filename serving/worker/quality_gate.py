"""Enforces a version's data contract: on a request's rows before they run, on its answer.

Fast path of the versions that have a contract; all others pay for one test of an attribute.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import EngineError, InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.recorder import QualityRecorder
from serving.monitor.quality.report import QualityReport
from serving.monitor.quality.verdict import Verdict, Violation
from serving.registry.contracts.data_contract import EVENT_TIME, Action, Check
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.call import InferCall
from serving.wire.input_checks import with_request_id
from serving.worker.executor import Look
from serving.worker.queued import QueuedCall
from serving.worker.stacking import single

MAX_JUDGED_INLINE_BYTES: Final = 1 << 20
"""Larger requests, with what they have in shared memory, are judged in a thread."""
MAX_SHOWN_LEVELS: Final = 5
MAX_FLAG_LETTERS: Final = 2000
REASONS: Final = {
    Check.MIN: "is below the minimum {limit}",
    Check.MAX: "is above the maximum {limit}",
    Check.ALLOWED: "is none of the allowed values {allowed}",
    Check.MIN_LEN: "has fewer than {limit} characters",
    Check.MAX_LEN: "has more than {limit} characters",
    Check.UTF8: "is no UTF-8",
    Check.FINITE: "is not finite",
    Check.NULL: "is missing",
    Check.ABSENT: "was left out",
    Check.NOT_CONSTANT: "has the same value everywhere",
    Check.SUM_TO: "does not sum to {limit} within {tolerance}",
    Check.MAX_LAG: "is more than {limit} s old",
    Check.MAX_FUTURE: "is more than {limit} s in the future",
    Check.FORMAT: "is no time: a number or ISO 8601 is expected",
}


log = structlog.get_logger(__name__)


class JudgedOutputs(list[Array]):
    """A call's outputs that were judged where they were made, and the verdict."""

    __slots__ = ("judge", "verdict")

    def __init__(self, outputs: Sequence[Array], judge: Judge, verdict: Verdict | None) -> None:
        """Keep what a judge said."""
        super().__init__(outputs)
        self.judge = judge
        self.verdict = verdict


class QualityGate:
    """One version's contract at work. Belongs to the loop's thread."""

    def __init__(
        self,
        key: VersionKey,
        judge: Judge,
        recorder: QualityRecorder,
        specs: Sequence[TensorSpec],
        utc_s: Callable[[], float],
    ) -> None:
        """Enforce a contract.

        Args:
            key: Whose it is.
            judge: Its rules.
            recorder: Its counters.
            specs: The inputs, in the model's order.
            utc_s: Seconds since 1970.
        """
        self.key = key
        self.recorder = recorder
        self.rules = judge
        self.now_s = utc_s
        self._dtypes = [
            None if spec.datatype is Datatype.BYTES else DTYPES[spec.datatype] for spec in specs
        ]
        self.is_passing = False
        """Whether calls are being finished that were judged with their batch, and passed."""
        self.judges_outputs = bool(judge.outputs)
        """Whether there is anything to ask of answers."""

    def admit(self, call: InferCall) -> InferCall:
        """Judge a request and act on it; see `settle`.

        Raises:
            InvalidArgumentError: A rule that rejects is broken.
        """
        return self.settle(call, self.judge(call))

    def judge(self, call: InferCall) -> Verdict | None:
        """Judge a request; nothing is changed, so that a thread may do it."""
        return self.rules.judge_inputs(self._arrays(call), call.rows, call.parameters, self.now_s())

    def settle(self, call: InferCall, verdict: Verdict | None) -> InferCall:
        """Count a request that was judged; return it, with the flags that its answer shall carry.

        Raises:
            InvalidArgumentError: A rule that rejects is broken.
        """
        self.count_request(call, verdict)
        if verdict is None:
            return call
        refused = self.refusal(call, verdict)
        if refused is not None:
            self.recorder.rejected_count += 1
            raise refused
        return self.flagged(call, verdict)

    def count_request(self, call: InferCall, verdict: Verdict | None) -> None:
        """Count a request that was judged."""
        self.recorder.count_request(call.rows, verdict, call.id, self.now_s())

    def refusal(self, call: InferCall, verdict: Verdict) -> InvalidArgumentError | None:
        """Return what a request is refused for; None: no rule that rejects is broken."""
        refused = _first(verdict, Action.REJECT)
        if refused is None:
            return None
        error = InvalidArgumentError(self._text(refused, _subject(refused), "correct it"))
        return with_request_id(error, call.id) if call.id else error

    def flagged(self, call: InferCall, verdict: Verdict) -> InferCall:
        """Return a request with the flags that its answer shall carry."""
        if self.judges_outputs and verdict.violating_row_count:
            call = replace(call, bad_rows=verdict.bad_rows)
        return _flagged(call, verdict)

    def look(self, rows: int, outputs: Sequence[Array]) -> Sequence[Array]:
        """Judge an answer ahead of `pass_on`; nothing is changed, so that a thread may do it."""
        try:
            verdict = self.rules.judge_outputs(outputs, rows)
        except Exception:  # process edge: `pass_on` judges it again, and tells its caller
            log.exception("answer_not_judged")
            return outputs
        return JudgedOutputs(outputs, self.rules, verdict)

    def look_at_each(
        self, calls: Sequence[QueuedCall], parts: Sequence[Sequence[Array]]
    ) -> list[Sequence[Array]]:
        """Judge answers one by one: see `look`."""
        return [self.look(call.rows, part) for call, part in zip(calls, parts, strict=True)]

    def pass_on(self, call: InferCall, outputs: Sequence[Array]) -> InferCall:
        """Judge an answer; return its call, with the flags that the answer shall carry.

        Raises:
            EngineError: A rule that rejects is broken: the answer is not sent.
        """
        if self.is_passing or not self.judges_outputs:
            return call
        if isinstance(outputs, JudgedOutputs) and outputs.judge is self.rules:
            verdict = outputs.verdict
        else:
            verdict = self.rules.judge_outputs(outputs, call.rows)
        self.recorder.answer_count += 1
        if verdict is None:
            return call
        self.recorder.count_answer(verdict, call.id, self.now_s(), call.bad_rows)
        refused = _first(verdict, Action.REJECT)
        if refused is not None:
            self.recorder.withheld_count += 1
            subject = f"output {_place(refused)}"
            raise EngineError(self._text(refused, subject, "the answer was not sent"))
        return _flagged(call, verdict)

    def report(self) -> QualityReport:
        """Return what was counted."""
        return self.recorder.report(self.now_s())

    def _arrays(self, call: InferCall) -> list[Array | None]:
        return [
            None if shape is None else single(tensor, dtype, shape)
            for tensor, dtype, shape in zip(call.tensors, self._dtypes, call.shapes, strict=True)
        ]

    def _text(self, violation: Violation, subject: str, remedy: str) -> str:
        rule = violation.rule
        reason = REASONS[rule.check].format(
            limit=f"{rule.limit:g}" if isinstance(rule.limit, float) else rule.limit,
            tolerance=f"{rule.tolerance:g}",
            allowed=_levels(violation),
        )
        value = f" (it is {violation.value})" if violation.value else ""
        return (
            f"{subject} {reason}{value}: rule '{rule.id}' of the data contract of {self.key}; "
            f"{remedy}"
        )


def gate_for(
    spec: VersionSpec, served: ServedVersion, utc_s: Callable[[], float]
) -> QualityGate | None:
    """Build the gate of a version; None: it has no contract.

    Args:
        spec: The version.
        served: What it turned out to be.
        utc_s: Seconds since 1970.

    Raises:
        ModelLoadError: The contract is not one for its tensors.
    """
    if spec.contract is None:
        return None
    judge = Judge(
        spec.contract, served.inputs, served.outputs, is_batched=served.max_batch_rows > 0
    )
    return QualityGate(spec.key, judge, QualityRecorder(spec.contract), served.inputs, utc_s)


def look_of(gate: QualityGate | None) -> Look | None:
    """Return what judges the answers of a version where they are made; None: nobody does."""
    return gate.look_at_each if gate is not None and gate.judges_outputs else None


def _first(verdict: Verdict, action: Action) -> Violation | None:
    return next((one for one in verdict.violations if one.action is action), None)


def _flagged(call: InferCall, verdict: Verdict) -> InferCall:
    """Note the rules that flag, each with the first rows that break it."""
    flags = [_flag(one) for one in verdict.violations if one.action is Action.FLAG]
    if not flags:
        return call
    text = ";".join([call.flags, *flags] if call.flags else flags)
    return replace(call, flags=text[:MAX_FLAG_LETTERS])


def _flag(violation: Violation) -> str:
    """Write a broken rule with its first rows: `age.max:0,3`; a `+`: there are more."""
    more = "+" if violation.row_count > len(violation.rows) else ""
    return f"{violation.rule.id}:{','.join(map(str, violation.rows))}{more}"


def _subject(violation: Violation) -> str:
    if violation.name == EVENT_TIME:
        return f"{EVENT_TIME} ('{violation.tensor}')"
    return f"input {_place(violation)}"


def _place(violation: Violation) -> str:
    feature = "" if violation.column is None else f" (feature '{violation.name}')"
    if violation.rule.check is Check.ABSENT:
        return f"'{violation.tensor}'{feature}"
    return f"'{violation.tensor}'{feature} row {violation.rows[0]}"


def _levels(violation: Violation) -> str:
    allowed = [str(level) for level in violation.rule.allowed]
    more = f", … ({len(allowed)} in all)" if len(allowed) > MAX_SHOWN_LEVELS else ""
    return f"{', '.join(allowed[:MAX_SHOWN_LEVELS])}{more}"
