"""What a model's outputs mean beside labels, as its configuration says it.

In `config.pbtxt`, among the parameters; all may be left out::

    parameters { key: "label_kind"    value { string_value: "binary" } }
    parameters { key: "label_output"  value { string_value: "label" } }
    parameters { key: "label_scores"  value { string_value: "probabilities" } }
    parameters { key: "label_classes" value { string_value: "no,yes" } }

`classification`: `label_scores` has a column for each class, `label_output` the class that was
chosen (else the highest score); either will do. `binary`: `label_scores` has one column, of the
second class. `regression`: `label_output` has one number a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from runtimes.errors import InvalidArgumentError

LabelKind = Literal["classification", "binary", "regression"]
KIND: Final = "label_kind"
OUTPUT: Final = "label_output"
SCORES: Final = "label_scores"
CLASSES: Final = "label_classes"
PARAMETERS: Final = frozenset({KIND, OUTPUT, SCORES, CLASSES})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPolicy:
    """What a configuration says of outputs and labels; what it leaves out is inferred."""

    kind: LabelKind | None = None
    output: str = ""
    scores: str = ""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of the scores' columns."""


NOTHING_SAID: Final = LabelPolicy()


def label_policy(given: Mapping[str, str]) -> LabelPolicy:
    """Read a configuration's parameters.

    Args:
        given: Its parameters, as texts.

    Raises:
        InvalidArgumentError: A value is none of those that exist, or contradicts another.
    """
    names = tuple(name.strip() for name in given.get(CLASSES, "").split(",") if name.strip())
    if len(set(names)) != len(names):
        raise InvalidArgumentError(f"parameters: {CLASSES} names a class twice")
    kind = _kind(given.get(KIND, ""))
    if kind == "regression" and (names or given.get(SCORES)):
        raise InvalidArgumentError(
            f"parameters: a model of {KIND} regression has no {CLASSES} and no {SCORES}"
        )
    return LabelPolicy(
        kind=kind, output=given.get(OUTPUT, ""), scores=given.get(SCORES, ""), classes=names
    )


def _kind(text: str) -> LabelKind | None:
    if not text:
        return None
    if text not in get_args(LabelKind):
        raise InvalidArgumentError(
            f"parameters: {KIND} is '{text[:40]}': write {', '.join(get_args(LabelKind))}"
        )
    return cast("LabelKind", text)
