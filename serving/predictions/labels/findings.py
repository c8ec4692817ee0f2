"""What versions' labels have shown, from look to look and from controller to controller.

::

    first labels ──► reference ┐
    later ones, each once ─────┴──► what they have shown ──► files beside the labels

One process learns and judges; others read what it has kept. What cannot be written is remembered,
and written as soon as it can be.
"""

from collections.abc import Callable, Iterable

import structlog

from serving.monitor.labels.judging import DropReference, Judged, judged_rows, reference_of
from serving.predictions.labels.joining import ModelLabels
from serving.predictions.labels.references import (
    JUDGED,
    REFERENCES,
    Findings,
    References,
    read_findings,
    read_references,
    reference_name,
    write_findings,
    write_references,
)

log = structlog.get_logger(__name__)


class KeptFindings:
    """Belongs to whoever looks at labels; blocks."""

    def __init__(self, places: Iterable[str]) -> None:
        """Know nothing yet.

        Args:
            places: Folders of labels, or fsspec URLs; what is learnt is kept at the last one, which
                every node can reach.
        """
        self._places = tuple(places)
        self._learnt: dict[str, DropReference] = {}
        self._judged: dict[str, Judged] | None = None
        self._unkept: set[str] = set()
        """Files that could not be written."""

    def references(self) -> References:
        """Return what was kept of versions' first labels.

        Raises:
            InvalidArgumentError: What was kept is damaged.
        """
        return {name: one for place in self._places for name, one in read_references(place).items()}

    def findings(self) -> Findings:
        """Return what was kept of what later labels have shown.

        Raises:
            InvalidArgumentError: What was kept is damaged.
        """
        return {name: one for place in self._places for name, one in read_findings(place).items()}

    def learnt(self, found: ModelLabels) -> References:
        """Return what is known of versions' first labels, and keep what is new.

        Nothing is new while labels are still to be looked for: the first ones may be among those.

        Raises:
            InvalidArgumentError: What was kept is damaged.
        """
        kept = self.references()
        self._learnt = {name: one for name, one in self._learnt.items() if name not in kept}
        for each in found.joined:
            name = reference_name(each.key, each.digest, each.output)
            if name in kept or name in self._learnt:
                continue
            reference = None if found.is_behind else reference_of(each.rows)
            if reference is not None:
                self._learnt[name] = reference
        known = {**kept, **self._learnt}
        if self._learnt and self._places:
            self._keep(REFERENCES, lambda: write_references(self._places[-1], known))
        return known

    def judged(self, found: ModelLabels, references: References) -> Findings:
        """Judge the labels that were not judged yet; return what all have shown, and keep it.

        Raises:
            InvalidArgumentError: What was kept is damaged.
        """
        before = self.findings() if self._judged is None else self._judged
        known = dict(before)
        looked_at = set()
        for each in found.joined:
            name = reference_name(each.key, each.digest, each.output)
            looked_at.add(name)
            if name in references:
                known[name] = judged_rows(each.rows, references[name], before.get(name))
        for name in known.keys() - looked_at:
            if name.startswith(f"{found.model}:"):
                known[name] = known[name].without_names()  # or they would be ever more
        is_new = any(known[name] is not before.get(name) for name in looked_at & known.keys())
        self._judged = known
        if self._places and (is_new or JUDGED in self._unkept):
            self._keep(JUDGED, lambda: write_findings(self._places[-1], known))
        return known

    def _keep(self, file: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001  stores raise what they like; tried at each look
            if file not in self._unkept:
                log.warning(
                    "label_references_not_kept",
                    file=file,
                    reason=str(error)[:200],
                    hint="they are remembered until the controller ends, and tried again",
                )
            self._unkept.add(file)
        else:
            self._unkept.discard(file)
