"""What labels of a model are about: which outputs, what kind, which classes. Pure.

A configuration may say it (`serving.registry.policies.label_policy`). What it leaves out is
inferred from the outputs: floats with several columns are scores of classes, integers and texts
with one value a row are classes, one float a row is a number. Where that leaves a choice, nothing
is guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.monitor.labels.rows import Kind
from serving.registry.policies.label_policy import LabelPolicy
from serving.registry.version import ServedVersion

FLOATS: Final = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16})
SCORES: Final = "scores"
CLASS: Final = "class"
NUMBER: Final = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What labels of one output of a version are compared with."""

    kind: Kind
    value: str = ""
    """The output with the class or the number; empty: the highest score is the class."""
    scores: str = ""
    """The output with the scores; empty: there are none."""
    classes: tuple[str, ...] = ()
    """Names; empty: the columns' indices, or whatever the outputs and labels say."""
    is_binary: bool = False
    """Its scores are one column: of the second class."""
    names: frozenset[str] = frozenset()
    """Outputs that a label may name for it; a label without a name is meant likewise."""
    said: str = ""
    """How that is known, for people."""


def target_of(
    served: ServedVersion,
    policy: LabelPolicy,
    names: Mapping[str, tuple[str, ...]],
    output: str = "",
) -> Target:
    """Say what labels are about.

    Args:
        served: The version.
        policy: What its configuration says.
        names: Class names by output, from files that the configuration points to.
        output: What labels name; empty: the one output that labels without a name mean.

    Raises:
        InvalidArgumentError: It has no such output, or the configuration has to say more.
    """
    shapes = roles_of(served)
    for name in filter(None, (output, policy.output, policy.scores)):
        if name not in shapes:
            raise InvalidArgumentError(
                f"there is no output '{name[:80]}' to compare labels with: it has "
                f"{', '.join(shapes) or 'none'}"
            )
    is_declared = bool(policy.output or policy.scores or policy.kind)
    found = _declared(policy, shapes) if is_declared else _tried(shapes)
    if output and (found is None or output not in found.names):
        found = _inferred({output: shapes[output]})
    return _named(_inferred(shapes) if found is None else found, policy, names)


def roles_of(served: ServedVersion) -> dict[str, str]:
    """Say what each output could be: `scores`, `class`, `number`, or nothing that has labels."""
    return {spec.name: _role(spec, served) for spec in served.outputs}


def _tried(shapes: Mapping[str, str]) -> Target | None:
    try:
        return _inferred(shapes)
    except InvalidArgumentError:
        return None


def _declared(policy: LabelPolicy, shapes: Mapping[str, str]) -> Target:
    said = "as its configuration says"
    wanted = {policy.output, policy.scores} - {""}
    if policy.kind == "regression":
        value = policy.output or _only(shapes, NUMBER)
        return Target(kind=Kind.NUMBER, value=value, names=frozenset({value}), said=said)
    if policy.kind == "binary":
        scores = policy.scores or _only({k: v for k, v in shapes.items() if v == NUMBER}, NUMBER)
        names = frozenset({scores, policy.output} - {""})
        return Target(
            kind=Kind.CLASSES, value=policy.output, scores=scores, is_binary=True, names=names,
            said=said,
        )  # fmt: skip
    found = _inferred({name: shapes[name] for name in wanted} if wanted else shapes)
    if policy.kind == "classification" and found.kind is Kind.NUMBER:
        raise InvalidArgumentError(
            f"label_kind is classification, and '{found.value}' is one float a row: write binary "
            "if it is the chance of the second class"
        )
    return Target(
        kind=found.kind, value=found.value, scores=found.scores, names=found.names, said=said
    )


def _inferred(shapes: Mapping[str, str]) -> Target:
    scores = [name for name, role in shapes.items() if role == SCORES]
    classes = [name for name, role in shapes.items() if role == CLASS]
    numbers = [name for name, role in shapes.items() if role == NUMBER]
    if len(scores) == 1 and len(classes) <= 1 and not numbers:
        value = classes[0] if classes else ""
        return Target(
            kind=Kind.CLASSES,
            value=value,
            scores=scores[0],
            names=frozenset({scores[0], value} - {""}),
            said=f"inferred: '{scores[0]}' has a score for each class",
        )
    if len(classes) == 1 and not scores and not numbers:
        return Target(
            kind=Kind.CLASSES,
            value=classes[0],
            names=frozenset(classes),
            said=f"inferred: '{classes[0]}' is a class",
        )
    if len(numbers) == 1 and not scores and not classes:
        return Target(
            kind=Kind.NUMBER,
            value=numbers[0],
            names=frozenset(numbers),
            said=f"inferred: '{numbers[0]}' is a number",
        )
    raise InvalidArgumentError(
        f"labels could be about several of its outputs ({', '.join(shapes)}) or none: let the "
        "configuration say it (parameters label_kind, label_output, label_scores), or name the "
        'output in each label: {"label": {"OUTPUT": …}}'
    )


def _only(shapes: Mapping[str, str], role: str) -> str:
    found = [name for name, each in shapes.items() if each == role]
    if len(found) != 1:
        raise InvalidArgumentError(
            f"{len(found)} of its outputs could be meant by label_kind: name one by label_output "
            "or label_scores"
        )
    return found[0]


def _named(found: Target, policy: LabelPolicy, names: Mapping[str, tuple[str, ...]]) -> Target:
    if found.kind is Kind.NUMBER:
        return found
    given = names.get(found.scores) or names.get(found.value) or ()
    is_primary = not (policy.output or policy.scores) or bool(
        found.names & {policy.output, policy.scores}
    )
    classes = (policy.classes if is_primary else ()) or given
    return Target(
        kind=found.kind,
        value=found.value,
        scores=found.scores,
        classes=classes,
        is_binary=found.is_binary,
        names=found.names,
        said=found.said,
    )


def _role(spec: TensorSpec, served: ServedVersion) -> str:
    """What an output could be; empty: nothing that labels are compared with."""
    dims: Sequence[int] = spec.shape[1:] if served.max_batch_rows > 0 else spec.shape
    is_single = all(dim == 1 for dim in dims)
    is_float = spec.datatype in FLOATS
    if len(dims) <= 1 and not is_single:
        return SCORES if is_float else ""
    if not is_single:
        return ""
    return NUMBER if is_float else CLASS
