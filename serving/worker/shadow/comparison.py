"""A candidate's side of shadow traffic: answers copies of live calls and compares.

Copies go through the version's own queue, beside its clients' calls, and are counted by themselves;
nobody gets their answers. What is compared with what, the table of mirrors says.
"""

import hmac
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from runtimes.contract import Array
from runtimes.errors import BasculeError
from runtimes.tolerance import Tolerance, tolerance
from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport, Pair, merge_comparisons
from serving.worker.control import MirrorTable
from serving.worker.exchange import Desk
from serving.worker.hosting import Hosting
from serving.worker.loaded import LoadedVersion
from serving.worker.shadow.call import (
    NOT_EXECUTED,
    Answered,
    CallComparison,
    ShadowCall,
    compare_call,
)
from serving.worker.shadow.message import ShadowCopy, ShadowReply, read_copies

QUEUE_LIMIT_NS: Final = 5_000_000_000
"""A copy that has waited for so long is given up: whoever sent it has, too, soon after."""
MAX_REASON_LETTERS: Final = 300


class Comparisons:
    """All comparisons of a worker. Belongs to its loop."""

    def __init__(self, hosting: Hosting, desk: Desk) -> None:
        """Compare nothing."""
        self._hosting = hosting
        self._desk = desk
        self._key = ""
        self._tolerances: dict[Pair, Tolerance | None] = {}
        self._reports: dict[Pair, ComparisonReport] = {}

    def replace(self, table: MirrorTable) -> None:
        """Compare what a table says from now on; comparisons that stay in it go on.

        Raises:
            InvalidArgumentError: A tolerance is none.
        """
        wanted = {
            Pair(entry.model, entry.candidate, entry.version): (
                tolerance(entry.tolerance) if entry.tolerance else None
            )
            for entry in table.mirrors
        }
        self._key = table.key
        self._tolerances = wanted
        self._reports = {pair: told for pair, told in self._reports.items() if pair in wanted}

    def knows(self, key: str) -> bool:
        """Say whether whoever has this key may send copies by TCP."""
        return bool(self._key) and hmac.compare_digest(key.encode(), self._key.encode())

    def reports(self) -> tuple[ComparisonReport, ...]:
        """Say what was found so far."""
        return tuple(self._reports.values())

    async def take(self, message: bytes) -> ShadowReply:
        """Answer and compare the copies of one message.

        Raises:
            InvalidArgumentError: It is no such message.
        """
        versions = {loaded.spec.key: loaded for loaded in self._hosting.loaded}
        started = [
            (copy, versions.get(VersionKey(copy.head.model, copy.head.version)))
            for copy in list(read_copies(message))
        ]
        waiting = [(copy, loaded, self._start(copy, loaded)) for copy, loaded in started]
        answered: list[Answered] = []
        reply = ShadowReply()
        for copy, loaded, call in waiting:
            outcome = await call.answer if isinstance(call, ShadowCall) else call
            if isinstance(outcome, BasculeError):
                reply = self._note_failure(copy.pair, outcome, reply)
            elif loaded is not None and isinstance(call, ShadowCall):
                answered.append(self._answered(copy, loaded, call, outcome))
        found = await self._desk.loop.run_in_executor(None, _compare_all, answered)
        for item, comparison in zip(answered, found, strict=True):
            self._add(_report(item.copy.pair, comparison))
        return replace(reply, compared=len(answered))

    def _start(self, copy: ShadowCopy, loaded: LoadedVersion | None) -> ShadowCall | BasculeError:
        """Put a copy on its version's queue, or say why it does not get there."""
        if self._desk.is_draining or loaded is None or copy.pair not in self._tolerances:
            return NotReadyError("this worker does not compare these versions now")
        try:
            call = ShadowCall(copy, loaded, self._desk.loop.create_future())
            call.deadline_ns = self._desk.now_ns() + QUEUE_LIMIT_NS
            loaded.batcher.submit(call)
        except BasculeError as error:
            return error
        return call

    def _note_failure(self, pair: Pair, error: BasculeError, reply: ShadowReply) -> ShadowReply:
        if error.code in NOT_EXECUTED:
            return replace(reply, refused=reply.refused + 1)
        reason = error.message[:MAX_REASON_LETTERS]
        self._add(ComparisonReport(**pair._asdict(), failed_calls=1, failure=reason))
        return replace(reply, failed=reply.failed + 1)

    def _answered(
        self, copy: ShadowCopy, loaded: LoadedVersion, call: ShadowCall, outputs: Sequence[Array]
    ) -> Answered:
        served, golden = loaded.served, loaded.spec.golden
        allowed = self._tolerances.get(copy.pair)
        names = [spec.name for spec in served.outputs]
        tolerances: dict[str, Tolerance] = {}
        if allowed is not None:
            tolerances = dict.fromkeys(names, allowed)
        elif golden is not None:
            specs = zip(golden.outputs, golden.other_environment, strict=True)
            tolerances = {spec.name: item for spec, item in specs}
        return Answered(
            copy=copy,
            call=call.call,
            inputs=served.inputs,
            outputs=dict(zip(names, outputs, strict=True)),
            tolerances=tolerances,
            is_batched=served.max_batch_rows > 0,
        )

    def _add(self, report: ComparisonReport) -> None:
        """Count what was found, unless the comparison has ended meanwhile."""
        if report.pair in self._tolerances:
            before = self._reports.get(report.pair)
            both = [report] if before is None else [before, report]
            (self._reports[report.pair],) = merge_comparisons(both)


def _compare_all(answered: Sequence[Answered]) -> list[CallComparison]:
    return [compare_call(item) for item in answered]


def _report(pair: Pair, found: CallComparison) -> ComparisonReport:
    return ComparisonReport(
        model=pair.model,
        version=pair.version,
        against=pair.against,
        compared_calls=1,
        compared_rows=found.rows,
        mismatched_rows=found.mismatched_rows,
        outputs=found.outputs,
        worst=found.worst,
    )
