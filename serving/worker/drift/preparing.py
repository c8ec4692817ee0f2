"""How a version comes to its reference: read from its file, or learnt from its first rows.

::

    has a reference ─────────────────────────────────► counts by it
    learns ──► collects rows ──► a process learns ──► the file is there ──► counts by it
                     └── another replica was quicker ─────────┘
"""

import subprocess

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.storage import from_bytes
from serving.monitor.drift_order import DriftOrder
from serving.registry.version import ServedVersion
from serving.worker.drift.learning_process import start
from serving.worker.drift.sinks import Collected, Sums
from serving.worker.drift.version_watch import VersionWatch, plan_for


class Preparing:
    """One version's way. Belongs to the monitor's thread."""

    def __init__(self, order: DriftOrder, served: ServedVersion) -> None:
        """Begin without a reference."""
        self._order = order
        self._served = served
        self._collected: Collected | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, watch: VersionWatch, epoch: str) -> bool:
        """Go on; say whether the version counts by a reference now.

        Args:
            watch: The version's.
            epoch: Names the beginning of its sums.

        Raises:
            InvalidArgumentError: Its reference is none, does not fit, or cannot be learnt.
            OSError: A file cannot be read or written.
        """
        spec = watch.spec
        reference = self._order.reference_of(spec)
        if reference is not None:
            profile = from_bytes(reference.read_bytes())
            watch.follow(plan_for(Sums(profile, self._served, spec.contract, epoch)))
            self._end()
            return True
        if self._collected is None:
            self._collected = Collected(self._served, self._order.rows_to_learn(spec))
            if not self._collected.slots.slots:
                raise InvalidArgumentError(
                    "none of its tensors has rows of a fixed size, so that no reference can be "
                    "learnt from them: pack it with one (bascule drift learn)"
                )
            watch.follow(plan_for(self._collected))
        elif self._process is not None:
            self._require_learnt(self._process.poll())
        elif self._collected.is_full:
            self._process = start(self._collected.tensors(), self._order.learnt_file(spec))
        return False

    def _require_learnt(self, status: int | None) -> None:
        if status:
            rows = 0 if self._collected is None else self._collected.rows
            raise InvalidArgumentError(
                f"no reference could be learnt from its first {rows} rows (exit status {status}): "
                "see the worker's log"
            )

    def _end(self) -> None:
        if self._process is not None:
            self._process.wait()
