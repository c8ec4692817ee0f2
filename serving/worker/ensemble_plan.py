"""Pure: an ensemble's steps bound to the loaded versions of one worker, with their tensors checked.

Tensors of an ensemble lie in numbered slots: a caller's input fills one, each step's outputs fill
others, and a step may begin when the slots that it reads are filled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtimes.contract import TensorSpec
from runtimes.errors import ModelLoadError
from serving.registry.ensemble import EnsembleStep, in_order, step_name
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.tensors import shape_text


@dataclass(frozen=True, slots=True)
class Fed:
    """A tensor of a step's model, by its place there, and its slot."""

    place: int
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step, by places and slots."""

    name: str
    inputs: tuple[Fed, ...]
    outputs: tuple[Fed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsemblePlan:
    """How tensors go through an ensemble. Its n-th input has slot n."""

    steps: tuple[PlannedStep, ...]
    """Each after those whose tensors it reads."""
    members: tuple[int, ...]
    """The place of each step in the configuration."""
    readers: tuple[tuple[int, ...], ...]
    """The steps that read each slot, each once."""
    unfilled: tuple[int, ...]
    """How many slots each step waits for."""
    output_slots: tuple[int, ...]


def served_ensemble(spec: VersionSpec, members: Sequence[ServedVersion]) -> ServedVersion:
    """Describe an ensemble as its configuration does; what it says of itself is its interface."""
    policy = spec.policy
    rows = policy.max_batch_rows or 0
    batch = (-1,) if rows else ()

    def full(tensors: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                name=each.name,
                datatype=each.datatype,
                shape=(*batch, *each.shape),
                optional=each.optional,
            )
            for each in tensors
        )

    on_gpu = (member.device for member in members if member.device != "cpu")
    return ServedVersion(
        platform="ensemble",
        backend="",
        inputs=full(policy.inputs),
        outputs=full(policy.outputs),
        max_batch_rows=rows,
        device=next(on_gpu, "cpu"),
        threads=0,
        load_s=0.0,
        run_s=0.0,
    )


def plan_ensemble(
    served: ServedVersion, steps: Sequence[EnsembleStep], members: Sequence[ServedVersion]
) -> EnsemblePlan:
    """Bind an ensemble to the models of its steps.

    Args:
        served: The ensemble as it describes itself.
        steps: As its configuration lists them; they are whole (`require_whole`).
        members: The model of each step.

    Raises:
        ModelLoadError: A model lacks a tensor, two disagree about one's datatype or shape, or a
            step takes fewer rows than the ensemble; the message names step and tensor.
    """
    names = [tensor.name for tensor in served.inputs]
    ordered = tuple(in_order(steps, names))
    names += [link.shared for at in ordered for link in steps[at].outputs]
    slots = {name: slot for slot, name in enumerate(names)}
    for at, (step, member) in enumerate(zip(steps, members, strict=True)):
        _check_step(served, step_name(at + 1, step), step, member)
    _check_tensors(served, steps, members)
    planned = tuple(
        _planned(step_name(at + 1, steps[at]), steps[at], members[at], slots) for at in ordered
    )
    reads = [sorted({fed.slot for fed in step.inputs}) for step in planned]
    return EnsemblePlan(
        steps=planned,
        members=ordered,
        readers=tuple(
            tuple(number for number, read in enumerate(reads) if slot in read)
            for slot in range(len(names))
        ),
        unfilled=tuple(map(len, reads)),
        output_slots=tuple(slots[tensor.name] for tensor in served.outputs),
    )


def _planned(
    name: str, step: EnsembleStep, member: ServedVersion, slots: Mapping[str, int]
) -> PlannedStep:
    inputs = {tensor.name: place for place, tensor in enumerate(member.inputs)}
    outputs = {tensor.name: place for place, tensor in enumerate(member.outputs)}
    return PlannedStep(
        name=name,
        inputs=tuple(Fed(inputs[link.own], slots[link.shared]) for link in step.inputs),
        outputs=tuple(Fed(outputs[link.own], slots[link.shared]) for link in step.outputs),
    )


def _check_step(
    served: ServedVersion, name: str, step: EnsembleStep, member: ServedVersion
) -> None:
    if served.max_batch_rows > member.max_batch_rows:
        raise ModelLoadError(
            f"the ensemble takes batches of {served.max_batch_rows} rows and {name} only of "
            f"{member.max_batch_rows}: lower the ensemble's max_batch_size, or raise the model's"
        )
    for role, links, tensors in (
        ("input", step.inputs, member.inputs),
        ("output", step.outputs, member.outputs),
    ):
        known = [tensor.name for tensor in tensors]
        for link in links:
            if link.own not in known:
                raise ModelLoadError(
                    f"{name} maps {role} '{link.own}', which its model does not have: it has "
                    f"{', '.join(known)}"
                )
    given = {link.own for link in step.inputs}
    for tensor in member.inputs:
        if tensor.name not in given and not tensor.optional:
            raise ModelLoadError(
                f"{name} does not map input '{tensor.name}', which its model needs"
            )


@dataclass(frozen=True, slots=True)
class _Use:
    """What one side says of a tensor of the ensemble."""

    who: str
    shared: str
    spec: TensorSpec
    is_input: bool


def _uses(
    served: ServedVersion, steps: Sequence[EnsembleStep], members: Sequence[ServedVersion]
) -> Iterator[_Use]:
    for is_input, tensors in ((False, served.inputs), (True, served.outputs)):
        yield from (_Use("the ensemble", each.name, each, is_input) for each in tensors)
    for number, (step, member) in enumerate(zip(steps, members, strict=True), start=1):
        name = step_name(number, step)
        by_name = {tensor.name: tensor for tensor in (*member.outputs, *member.inputs)}
        outputs = {tensor.name: tensor for tensor in member.outputs}
        yield from (_Use(name, each.shared, by_name[each.own], True) for each in step.inputs)  # noqa: FBT003
        yield from (_Use(name, each.shared, outputs[each.own], False) for each in step.outputs)  # noqa: FBT003


def _check_tensors(
    served: ServedVersion, steps: Sequence[EnsembleStep], members: Sequence[ServedVersion]
) -> None:
    """Compare what every reader of a tensor expects with what its writer gives."""
    uses = tuple(_uses(served, steps, members))
    writers = {use.shared: use for use in uses if not use.is_input}
    for use in uses:
        if not use.is_input:
            continue
        writer = writers[use.shared]
        where = f"tensor '{use.shared}': {writer.who} gives"
        if writer.spec.datatype is not use.spec.datatype:
            raise ModelLoadError(
                f"{where} {writer.spec.datatype} and {use.who} expects {use.spec.datatype}"
            )
        if not _fits(writer.spec.shape, use.spec.shape):
            raise ModelLoadError(
                f"{where} shape {shape_text(writer.spec.shape)} and {use.who} expects "
                f"{shape_text(use.spec.shape)}"
            )
        if writer.spec.optional and not use.spec.optional:
            raise ModelLoadError(
                f"input '{use.shared}' is optional and {use.who} cannot do without it"
            )


def _fits(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes can be the same; -1 is any size."""
    if len(one) != len(other):
        return {one, other} == {(), (1,)}
    return all(-1 in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))
