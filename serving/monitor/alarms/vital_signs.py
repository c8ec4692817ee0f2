"""One version's alarms about its calls and its data, look by look. Pure.

The same rules judge real traffic (`serving.rollout.alarm_watch`) and what a self-test makes up
(`serving.monitor.selftest`).
"""

from collections.abc import Iterator, Sequence

from serving.monitor.alarms.data_signs import age_signs, contract_signs
from serving.monitor.alarms.service_signs import Promise, ServiceWindow
from serving.monitor.alarms.sign import Sign
from serving.monitor.alarms.silence import Heard, Silence
from serving.monitor.quality.report import QualityReport
from serving.monitor.traffic import TrafficDelta
from serving.registry.contracts.data_contract import DataContract


class VersionSigns:
    """What is wrong with one version."""

    def __init__(
        self,
        promise: Promise,
        contract: DataContract | None,
        *,
        rows_per_s: float,
        now_s: float,
    ) -> None:
        """Begin with nothing seen.

        Args:
            promise: What callers were promised.
            contract: What its data must look like, and how old they may be.
            rows_per_s: Rows that each worker watches for drift, at most.
            now_s: Seconds since 1970, as everywhere here.
        """
        self._contract = contract
        self._service = ServiceWindow(promise)
        self._silence = Silence(now_s, rows_per_s)

    def look(
        self,
        delta: TrafficDelta,
        reports: Sequence[QualityReport],
        heard: Heard | None,
        now_s: float,
    ) -> Iterator[Sign]:
        """Say what is wrong now.

        Args:
            delta: What became of calls since the last look.
            reports: What each worker's contract says.
            heard: What its monitor of drift knows; None: it has none, or one that still learns.
            now_s: Now.
        """
        self._service.add(delta, now_s)
        yield from self._service.signs(now_s)
        if reports:
            first, *others = reports
            for other in others:
                first = first + other
            yield from contract_signs(first)
        if self._contract is not None:
            yield from age_signs(self._contract, now_s)
        if heard is None:
            self._silence.rest(now_s)
        else:
            yield from self._silence.note(delta.answered_count, heard, now_s)
