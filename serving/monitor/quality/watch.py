"""Pure: the rules of one input, feature or output, compiled for the tensor that it is.

Fast path: calls are judged on the worker's loop. A tensor of numbers whose rules are bounds is
passed by two comparisons (`serving.monitor.quality.bounds`); only what fails is looked at closely.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from serving.monitor.quality.cells import (
    FLOATS,
    HALVES,
    bound,
    compared_dtype,
    levels,
    mark_of,
    text_of,
    texts,
)
from serving.monitor.quality.verdict import SHOWN_ROWS, Missing, Violation
from serving.registry.contracts.data_contract import (
    Check,
    DataContract,
    MissingKind,
    Rule,
    Watched,
    action_in,
)

BOUNDS: Final = frozenset({Check.MIN, Check.MAX, Check.FINITE, Check.NULL, Check.ABSENT})
MAX_VALUE_LETTERS: Final = 100


@dataclass(slots=True)
class Findings:
    """What was found so far of one request; grows while its tensors are looked at."""

    bad_rows: Array
    violations: list[Violation] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    null_rows: dict[str, int] = field(default_factory=dict)
    lag_s: float | None = None

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return len(self.bad_rows)


class Watch:
    """One watched tensor, or column."""

    def __init__(self, watched: Watched, spec: TensorSpec, contract: DataContract) -> None:
        """Compile the rules; they fit the tensor (`serving.registry.contracts.contract_fit`)."""
        self.watched = watched
        self.datatype = spec.datatype
        self._contract = contract
        self._is_float = spec.datatype in FLOATS
        self._is_text = spec.datatype is Datatype.BYTES
        value_rules = [r for r in watched.rules if r.check not in {Check.ABSENT, Check.SUM_TO}]
        self._marks = [(rule, mark_of(rule, spec.datatype)) for rule in value_rules]
        self._sums = [rule for rule in watched.rules if rule.check is Check.SUM_TO]
        self._nulls = [rule for rule in watched.rules if rule.check is Check.NULL]
        self._absent = [rule for rule in watched.rules if rule.check is Check.ABSENT]
        self._tokens: Any = None
        if watched.null_tokens:
            self._tokens = (
                frozenset(watched.null_tokens)
                if self._is_text
                else levels(watched.null_tokens, spec.datatype)
            )

    def bounds(self) -> tuple[Any, Any] | None:
        """Return the bounds that settle all rules at once; None: there are other rules."""
        checks = {rule.check for rule in self.watched.rules}
        if self._is_text or self._tokens is not None or not checks <= BOUNDS:
            return None
        limits = {rule.check: bound(rule.limit, self.datatype) for rule in self.watched.rules}
        largest = np.inf
        if self._is_float and Check.FINITE in checks:
            largest = float(np.finfo(compared_dtype(self.datatype)).max)
        low, high = limits.get(Check.MIN, -largest), limits.get(Check.MAX, largest)
        if self._is_float and Check.FINITE in checks:
            low, high = max(low, -largest), min(high, largest)
        return low, high

    def look(self, array: Array | None, found: Findings) -> None:
        """Judge the tensor of a request; None: it was left out."""
        rows = found.rows
        if array is None:
            self._look_at_nothing(MissingKind.ABSENT, self._absent, found)
            return
        if self.datatype in HALVES:
            array = array.astype(np.float32)
        cells = array.reshape(rows, -1) if array.size else array
        column = self.watched.column
        if column is not None and cells.size:
            cells = cells[:, column : column + 1]
        if not cells.size:
            self._look_at_nothing(MissingKind.EMPTY, self._nulls, found)
        else:
            self._look_closely(array, cells, found)

    def _look_at_nothing(self, kind: MissingKind, rules: list[Rule], found: Findings) -> None:
        """Every row lacks the tensor, or it has no elements."""
        everything: Array = np.ones((found.rows, 1), bool)
        self._lack(kind, found.rows, everything[:, 0], found)
        for rule in rules:
            self._break(rule, everything, None, found)

    def _look_closely(self, array: Array, cells: Array, found: Findings) -> None:
        for rule in self._sums:
            self._sum(rule, array, found)
        null = self._missing(cells, found)
        for rule, mark in self._marks:
            self._break(rule, mark(cells, null), cells, found)

    def _missing(self, cells: Array, found: Findings) -> Array:
        """Count missing values; return which they are."""
        null = np.isnan(cells) if self._is_float else np.zeros(cells.shape, bool)
        counts = {MissingKind.NAN: int(np.count_nonzero(null))} if self._is_float else {}
        if self._is_text:
            empty = texts(cells, lambda text: not text)
            known = self._tokens or frozenset()
            null = texts(cells, lambda text: text in known) if known else null
            counts[MissingKind.TOKEN] = int(np.count_nonzero(null))
            counts[MissingKind.EMPTY] = int(np.count_nonzero(empty & ~null))
        elif self._tokens is not None:
            tokens = np.isin(cells, self._tokens) & ~null
            counts[MissingKind.TOKEN] = int(np.count_nonzero(tokens))
            null = null | tokens
        null_rows: Array = np.asarray(null.any(axis=1))
        for kind, count in counts.items():
            if count:
                self._lack(kind, count, null_rows, found)
        return null

    def _lack(self, kind: MissingKind, count: int, null_rows: Array, found: Findings) -> None:
        found.missing.append(Missing(name=self.watched.name, kind=kind, count=count))
        rows = int(np.count_nonzero(null_rows))
        if rows:
            found.null_rows[self.watched.name] = rows

    def _sum(self, rule: Rule, array: Array, found: Findings) -> None:
        sums = np.asarray(array.astype(np.float64).sum(axis=rule.axis)).reshape(found.rows, -1)
        self._break(rule, ~(np.abs(sums - rule.limit) <= rule.tolerance), sums, found)

    def _break(self, rule: Rule, bad: Array, cells: Array | None, found: Findings) -> None:
        """Note the rows in which a value breaks a rule."""
        if not bad.any():
            return
        bad_rows = bad.any(axis=1)
        rows = np.flatnonzero(bad_rows)
        found.bad_rows |= bad_rows
        value = ""
        if self._contract.echo_values and cells is not None:
            first = int(rows[0])
            value = _shown(cells[first, int(np.argmax(bad[first]))])
        found.violations.append(
            Violation(
                name=self.watched.name,
                tensor=self.watched.tensor,
                column=self.watched.column,
                rule=rule,
                action=action_in(self._contract, rule),
                row_count=len(rows),
                rows=tuple(rows[:SHOWN_ROWS].tolist()),
                value=value,
            )
        )


def _shown(value: object) -> str:
    """Return an offending value for people; only where the contract allows it."""
    if isinstance(value, str | bytes):
        return repr(text_of(value)[:MAX_VALUE_LETTERS])
    return str(value)
