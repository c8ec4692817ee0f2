"""One call of an ensemble on its way from step to step.

What a step gives is handed on as it lies in memory. The first step that fails ends its call; what
else runs for it is finished for nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, EngineError
from serving.monitor.stages import STEP
from serving.monitor.statistics import NO_PHASES
from serving.registry.version import ServedVersion
from serving.wire.call import InferCall
from serving.wire.input_checks import GivenInput, InputChecks
from serving.wire.tensors import Buffer, array_bytes, element_bytes
from serving.worker.ensemble_plan import EnsemblePlan, PlannedStep
from serving.worker.intake import Intake
from serving.worker.queued import QueuedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundStep:
    """A step with what runs it."""

    plan: PlannedStep
    intake: Intake
    served: ServedVersion
    checks: InputChecks
    default_timeout_ns: int


class StepCall(QueuedCall):
    """A call of an ensemble at one of its steps, as that model's queue sees it."""

    __slots__ = ("flow", "step", "submitted_ns")

    transport = STEP

    def __init__(self, flow: "Flow", step: BoundStep, call: InferCall, size_bytes: int) -> None:
        """Stand for a call at a step."""
        self.flow = flow
        self.step = step
        self.submitted_ns = 0
        self.call = call
        self.rows = call.rows
        self.stack_key = call.stack_key
        self.size_bytes = size_bytes
        self.deadline_ns = flow.asked.deadline_ns
        self.has_grpc_deadline = flow.asked.has_grpc_deadline
        self.is_gone = False

    @property
    def is_private(self) -> bool:
        """Whether its ensemble keeps less than everything, or one that has this as a step."""
        return self.flow.is_private

    @property
    def is_copy(self) -> bool:  # type: ignore[override]  # it is what the ensemble's call is
        """Whether no client asked for it."""
        return self.flow.asked.is_copy

    def header(self, name: bytes) -> bytes:
        """Return a header of the ensemble's call."""
        return self.flow.asked.header(name)

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Hand the result to the steps that wait for it."""
        self.flow.take(self, outputs)
        return True

    def fail(self, error: BasculeError) -> None:
        """End the whole call."""
        self.flow.give_up(self.step, error)


class Ensemble(Protocol):
    """What a call on its way needs of its ensemble."""

    plan: EnsemblePlan
    steps: tuple[BoundStep, ...]
    now_ns: Callable[[], int]
    is_private: bool

    def finish(self, flow: "Flow", outputs: Sequence[Array]) -> None:
        """Answer a call whose steps are all done."""

    def fail(self, flow: "Flow", error: BasculeError) -> None:
        """Tell the caller why there is no answer."""


class Flow:
    """One call on its way through the steps."""

    __slots__ = (
        "_arrays",
        "_intake",
        "_is_starting",
        "_left",
        "_ready",
        "_running",
        "_shapes",
        "_unfilled",
        "asked",
        "is_over",
        "phases",
    )

    def __init__(self, intake: Ensemble, asked: QueuedCall) -> None:
        """Stand before the first step."""
        slots = len(intake.plan.readers)
        self.asked = asked
        self.is_over = False
        self.phases = NO_PHASES
        self._intake = intake
        self._arrays: list[Any] = [None] * slots
        self._shapes: list[tuple[int, ...] | None] = [None] * slots
        self._unfilled = list(intake.plan.unfilled)
        self._running: set[StepCall] = set()
        self._left = len(intake.steps)
        self._ready: list[int] = []
        self._is_starting = False

    @property
    def is_private(self) -> bool:
        """Whether nothing is logged of its steps."""
        return self._intake.is_private or self.asked.is_private

    def begin(self) -> None:
        """Fill the caller's slots."""
        call = self.asked.call
        for slot, (tensor, shape) in enumerate(zip(call.tensors, call.shapes, strict=True)):
            self._arrays[slot] = tensor
            self._shapes[slot] = shape
        self._start(self._filled(range(len(call.tensors))))

    def take(self, done: StepCall, outputs: Sequence[Array]) -> None:
        """Take what a step gives; start what waits for it, or answer the call."""
        if self.is_over:
            return
        now_ns = self._intake.now_ns()
        self.phases = self.phases.plus(done.step.intake.phases_of(done.submitted_ns, now_ns))
        self._running.discard(done)
        self._left -= 1
        for fed in done.step.plan.outputs:
            self._arrays[fed.slot] = outputs[fed.place]
            self._shapes[fed.slot] = outputs[fed.place].shape
        if self._left:
            self._start(self._filled([fed.slot for fed in done.step.plan.outputs]))
            return
        self.is_over = True
        self._intake.finish(self, [self._arrays[slot] for slot in self._intake.plan.output_slots])

    def give_up(self, step: BoundStep, error: BasculeError) -> None:
        """End the call with a step's error."""
        if self.is_over:
            return
        self.end()
        self._intake.fail(self, error.reword(f"ensemble {step.plan.name}: {error.message}"))

    def end(self) -> None:
        """Leave all queues."""
        self.is_over = True
        for running in tuple(self._running):
            running.step.intake.cancel(running)
        self._running.clear()

    def _filled(self, slots: Sequence[int]) -> list[int]:
        """Return the steps that wait for nothing more, now that these slots are filled."""
        ready: list[int] = []
        for slot in slots:
            for number in self._intake.plan.readers[slot]:
                self._unfilled[number] -= 1
                if not self._unfilled[number]:
                    ready.append(number)
        return ready

    def _start(self, ready: Sequence[int]) -> None:
        """Start steps. One that is answered at once, from a cache, comes back in here."""
        self._ready += ready
        if self._is_starting:
            return
        self._is_starting = True
        while self._ready and not self.is_over:
            step = self._intake.steps[self._ready.pop(0)]
            try:
                self._submit(step)
            except BasculeError as error:
                self.give_up(step, error)
        self._is_starting = False

    def _submit(self, step: BoundStep) -> None:
        given: list[GivenInput] = []
        data: list[Any] = [None] * len(step.served.inputs)
        size_bytes = 0
        for fed in step.plan.inputs:
            shape = self._shapes[fed.slot]
            if shape is None:
                continue  # an optional input that the caller left out
            spec = step.served.inputs[fed.place]
            given.append(GivenInput(spec.name, spec.datatype, shape))
            tensor = _as_input(self._arrays[fed.slot], spec.datatype)
            size_bytes += len(tensor) if isinstance(tensor, Buffer) else array_bytes(tensor)
            data[fed.place] = tensor
        asked = self.asked.call
        plan = step.checks.plan_inputs(given, asked.id)
        call = InferCall(
            id=asked.id,
            rows=plan.rows,
            shapes=plan.shapes,
            stack_key=plan.stack_key,
            tensors=tuple(data),
            outputs=(),
            timeout_s=asked.timeout_s,
            priority=asked.priority,
            parameters=asked.parameters,
        )
        waiting = StepCall(self, step, call, size_bytes)
        waiting.submitted_ns = now_ns = self._intake.now_ns()
        _limit(waiting, step.default_timeout_ns and now_ns + step.default_timeout_ns)
        self._running.add(waiting)
        step.intake.submit(waiting)


def _limit(item: QueuedCall, deadline_ns: int) -> None:
    """Let a step's model refuse what waits longer than its own policy allows."""
    if deadline_ns and not 0 < item.deadline_ns <= deadline_ns:
        item.deadline_ns = deadline_ns
        item.has_grpc_deadline = False


def _as_input(tensor: Any, datatype: Datatype) -> Any:  # noqa: ANN401  a buffer, or an array of texts
    """Give an array the form that calls have: read-only bytes, or texts; bytes are not copied."""
    if not isinstance(tensor, np.ndarray):
        return tensor
    if tensor.dtype != DTYPES[datatype]:
        raise EngineError(f"the step before gave {tensor.dtype} where {datatype} is declared")
    if datatype is Datatype.BYTES:
        return _texts(tensor)
    # A view as bytes first: BF16 has no buffer format of its own.
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data.toreadonly()


def _texts(array: Array) -> Array:
    elements = array.reshape(-1).tolist()
    if all(isinstance(element, str) for element in elements):
        return array
    texts = np.empty(len(elements), dtype=object)
    try:
        texts[:] = [str(element_bytes(element), "utf-8") for element in elements]
    except UnicodeDecodeError as error:
        raise EngineError(
            "the step before gave a text that is not UTF-8: BYTES are text here"
        ) from error
    return texts.reshape(array.shape)
