"""Pure: what an ensemble is (steps that hand tensors to each other) and what makes one whole.

An ensemble's tensors have names of their own. A step reads some of them as inputs of its model and
writes some from its model's outputs. Each tensor is written once, by a step or by the caller; a
step can run when all that it reads has been written.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError

LATEST: Final = -1
"""A step's version: the one of its model that answers calls without a version."""
CALLER: Final = "the caller"
NO_BUNDLE: Final = (
    "an ensemble has no model file and is not kept in a bundle: serve it from a model repository; "
    "the models of its steps may be there or in the registry"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorLink:
    """A tensor of a step's model, and the tensor of the ensemble that it stands for."""

    own: str
    shared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleStep:
    """One call of a model."""

    model: str
    version: int
    """`LATEST`, or a version."""
    inputs: tuple[TensorLink, ...]
    outputs: tuple[TensorLink, ...]


def require_whole(
    steps: Sequence[EnsembleStep], inputs: Iterable[str], outputs: Iterable[str]
) -> None:
    """Refuse steps that cannot work together, whatever their models are.

    Args:
        steps: In the order of the configuration.
        inputs: The ensemble's inputs.
        outputs: The ensemble's outputs.

    Raises:
        InvalidArgumentError: A tensor is written twice or never, an input is read by nobody, an
            output comes from no step, or steps wait for each other.
    """
    given = tuple(inputs)
    writers = _writers(steps, given)
    read = {link.shared for step in steps for link in step.inputs}
    for number, step in enumerate(steps, start=1):
        for link in step.inputs:
            if link.shared not in writers:
                raise InvalidArgumentError(
                    f"{step_name(number, step)} reads tensor '{link.shared}', which no step "
                    "writes and which is no input of the ensemble"
                )
    for name in given:
        if name not in read:
            raise InvalidArgumentError(
                f"input '{name}' is read by no step: name it in an input_map, or leave it out"
            )
    for name in outputs:
        if writers.get(name, CALLER) == CALLER:
            raise InvalidArgumentError(
                f"output '{name}' is written by no step: name it in an output_map"
            )
    _require_no_circle(steps, given)


def in_order(steps: Sequence[EnsembleStep], inputs: Iterable[str]) -> Iterator[int]:
    """Give the positions of the steps that can run, each after those whose tensors it reads."""
    known = set(inputs)
    waiting = dict(enumerate(steps))
    while ready := [
        at for at, step in waiting.items() if all(link.shared in known for link in step.inputs)
    ]:
        for at in ready:
            known.update(link.shared for link in waiting.pop(at).outputs)
            yield at


def step_name(number: int, step: EnsembleStep) -> str:
    """Name a step in messages; numbers begin at 1."""
    version = "" if step.version == LATEST else f" version {step.version}"
    return f"step {number} (model '{step.model}'{version})"


def _writers(steps: Sequence[EnsembleStep], inputs: Sequence[str]) -> dict[str, str]:
    """Return who writes each tensor of the ensemble."""
    writers = dict.fromkeys(inputs, CALLER)
    for number, step in enumerate(steps, start=1):
        name = step_name(number, step)
        for link in step.outputs:
            if link.shared in writers:
                raise InvalidArgumentError(
                    f"tensor '{link.shared}' is written by {writers[link.shared]} and by {name}: "
                    "give one of them another name"
                )
            writers[link.shared] = name
    return writers


def _require_no_circle(steps: Sequence[EnsembleStep], inputs: Sequence[str]) -> None:
    runnable = set(in_order(steps, inputs))
    stuck = [step_name(at + 1, step) for at, step in enumerate(steps) if at not in runnable]
    if stuck:
        raise InvalidArgumentError(
            f"steps wait for each other in a circle and none of them can begin: {', '.join(stuck)}"
        )
