"""What a new version changes for the callers of the one before: each change, and does it break?

Pure. A change is compatible if every call that the version before answered is still answered, with
outputs that its caller can still read:

==============  ============================================  ===================================
of              compatible                                    not compatible
==============  ============================================  ===================================
an input        new and optional; optional where it was       new and required, removed, renamed;
                required; a free dimension where a size was   required; another datatype, rank or
                                                              size; a size where it was free
an output       new; a size where the dimension was free      removed, renamed; another datatype,
                                                              rank or size; free where a size was
a batch         more rows                                     fewer rows
==============  ============================================  ===================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from runtimes.contract import TensorSpec

FREE: Final = -1


class Interface(Protocol):
    """What callers see of a version: `serving.registry.version.ServedVersion` is one."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs with their full shapes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs with their full shapes."""

    @property
    def max_batch_rows(self) -> int:
        """Rows of one call at most; 0: there is no batch dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two versions."""

    subject: str
    """`input 'x'`, `output 'y'` or `batch`."""
    text: str
    is_compatible: bool


def changes(before: Interface, after: Interface) -> tuple[Change, ...]:
    """Return every change of the tensors and the batch, those that break callers first."""
    found = (
        *_tensor_changes("input", before.inputs, after.inputs),
        *_tensor_changes("output", before.outputs, after.outputs),
        *_batch_changes(before, after),
    )
    return tuple(sorted(found, key=lambda change: change.is_compatible))


def breaking(before: Interface, after: Interface) -> tuple[Change, ...]:
    """Return the changes that callers of the version before would not survive."""
    return tuple(change for change in changes(before, after) if not change.is_compatible)


def _tensor_changes(
    role: str, before: Sequence[TensorSpec], after: Sequence[TensorSpec]
) -> Iterator[Change]:
    old_names = {spec.name for spec in before}
    new = {spec.name: spec for spec in after}
    removed = [spec for spec in before if spec.name not in new]
    added = [spec for spec in after if spec.name not in old_names]
    for spec in removed:
        twin = next((item for item in added if _looks_like(item, spec)), None)
        if twin is not None:
            added.remove(twin)
            yield _change(role, spec, f"is called '{twin.name}' now", is_compatible=False)
        else:
            yield _change(role, spec, "is removed", is_compatible=False)
    for spec in added:
        is_harmless = role == "output" or spec.optional
        text = "is new" if is_harmless else "is new and required"
        yield _change(role, spec, text, is_compatible=is_harmless)
    for spec in before:
        if spec.name in new:
            yield from _spec_changes(role, spec, new[spec.name])


def _looks_like(one: TensorSpec, other: TensorSpec) -> bool:
    return (one.datatype, one.shape, one.optional) == (other.datatype, other.shape, other.optional)


def _spec_changes(role: str, old: TensorSpec, new: TensorSpec) -> Iterator[Change]:
    if old.datatype is not new.datatype:
        text = f"is {new.datatype} instead of {old.datatype}"
        yield _change(role, old, text, is_compatible=False)
    if role == "input" and old.optional != new.optional:
        text = "is optional now" if new.optional else "is required now"
        yield _change(role, old, text, is_compatible=new.optional)
    if old.shape != new.shape:
        text = f"has shape {_text(new.shape)} instead of {_text(old.shape)}"
        wide, narrow = (new, old) if role == "input" else (old, new)
        yield _change(role, old, text, is_compatible=_covers(wide.shape, narrow.shape))


def _covers(wide: Sequence[int], narrow: Sequence[int]) -> bool:
    """Whether every shape that `narrow` allows is one that `wide` allows."""
    return len(wide) == len(narrow) and all(
        one in {FREE, other} for one, other in zip(wide, narrow, strict=True)
    )


def _batch_changes(before: Interface, after: Interface) -> Iterator[Change]:
    old, new = _rows(before), _rows(after)
    if old == new:
        return
    text = f"takes {_rows_text(new)} instead of {_rows_text(old)}"
    is_compatible = new is None or (old is not None and new > old)
    yield Change(subject="batch", text=text, is_compatible=is_compatible)


def _rows(version: Interface) -> int | None:
    """Return the most rows of a call; None: the model sets no bound."""
    if version.max_batch_rows:
        return version.max_batch_rows
    leading = {spec.shape[0] for spec in version.inputs if spec.shape}
    return None if FREE in leading else max(leading, default=None)


def _change(role: str, spec: TensorSpec, text: str, *, is_compatible: bool) -> Change:
    return Change(subject=f"{role} '{spec.name}'", text=text, is_compatible=is_compatible)


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"


def _rows_text(rows: int | None) -> str:
    return "any number of rows" if rows is None else f"at most {rows} rows"
