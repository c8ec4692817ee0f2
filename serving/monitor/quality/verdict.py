"""What a contract's rules say of one request, or of one answer."""

from dataclasses import dataclass, field

from runtimes.contract import Array
from serving.registry.contracts.data_contract import Action, MissingKind, Rule

SHOWN_ROWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that some rows break."""

    name: str
    """Of the input, feature or output."""
    tensor: str
    rule: Rule
    action: Action
    row_count: int
    rows: tuple[int, ...]
    """The first of them."""
    column: int | None = None
    value: str = ""
    """What stands there in the first row; only where the contract lets values be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Values that are not there."""

    name: str
    kind: MissingKind
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of it; rows that break nothing and lack nothing have none."""

    violations: tuple[Violation, ...] = ()
    missing: tuple[Missing, ...] = ()
    null_rows: dict[str, int] = field(default_factory=dict)
    """Rows with a missing value, by input or feature."""
    violating_row_count: int = 0
    """Rows that break at least one rule."""
    bad_rows: Array | None = field(default=None, compare=False, repr=False)
    """Marks them; None: there are none."""
    lag_s: float | None = None
    """Age of the oldest event, where requests say it."""
