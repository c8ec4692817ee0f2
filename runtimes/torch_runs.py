"""Fast path. Running a loaded module of torch: TorchScript, or an exported program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import torch

from runtimes.contract import Array, TensorSpec
from runtimes.engine_messages import clean_engine_message, is_callers_fault
from runtimes.errors import BasculeError, EngineError, InvalidArgumentError
from runtimes.proven_graphs import ProvenGraphs, Run
from runtimes.torch_schema import SCALARS, BoundInput
from runtimes.torch_tensors import DATATYPES, Placement

RUN_FAILURES: Final = (
    RuntimeError,
    torch.jit.Error,
    ValueError,
    TypeError,
    IndexError,
    MemoryError,
    AssertionError,  # what an exported program's guards raise
)


Capture = Callable[[Callable[..., object], list[object]], Callable[[list[object]], object]]
"""(forward, arguments) → what replays that call on other arguments of the same shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A function of flat arguments that returns a tensor, or several."""

    forward: Callable[..., object]
    defaults: Sequence[object] = ()
    """What each argument is where nothing is fed to it."""


class TorchModel:
    """A loaded module; see `runtimes.contract.LoadedModel`."""

    has_loops = False

    def __init__(
        self,
        callee: Callee,
        bound: tuple[BoundInput, ...],
        outputs: tuple[tuple[int, TensorSpec], ...],
        placement: Placement,
        notes: tuple[str, ...],
        capture: Capture | None = None,
    ) -> None:
        self.notes = notes
        """What an operator should know of the module."""
        self.graphs = None if capture is None else ProvenGraphs(self._run, self._captured)
        """None: every run is plain."""
        self._capture = capture
        self._bound = bound
        self._outputs = outputs
        self._placement = placement
        self._forward = callee.forward
        self._defaults = callee.defaults

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the inputs as configured, in the order of `forward`."""
        return tuple(bound.spec for bound in self._bound)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of the outputs as configured."""
        return tuple(spec for _, spec in self._outputs)

    def run(self, feeds: Sequence[Array | None]) -> list[Array]:
        """Run one batch; see `runtimes.contract.LoadedModel.run`."""
        return self._run(feeds) if self.graphs is None else self.graphs.run(feeds)

    def _run(self, feeds: Sequence[Array | None]) -> list[Array]:
        return self._answer(feeds, lambda arguments: self._placement.run(self._forward, arguments))

    def _answer(
        self, feeds: Sequence[Array | None], call: Callable[[list[object]], object]
    ) -> list[Array]:
        try:
            with torch.inference_mode():
                return self._placement.to_host(self._results(call(self._arguments(feeds))))
        except RUN_FAILURES as error:
            raise run_error(error) from error

    def _captured(self, feeds: Sequence[Array | None], _: Sequence[Array]) -> Run:
        if self._capture is None:
            raise EngineError("the model's device has no graphs")
        try:
            with torch.inference_mode():
                replay = self._capture(self._forward, self._arguments(feeds))
        except RUN_FAILURES as error:
            raise run_error(error) from error
        return lambda fed: self._answer(fed, replay)

    def returned(self, feeds: Sequence[Array | None]) -> list[object]:
        """Run one batch, and give what `forward` returns as it is, on its device.

        Raises:
            InvalidArgumentError: The engine refused the values or shapes of this batch.
            EngineError: The engine failed, or returned no tensors.
        """
        try:
            with torch.inference_mode():
                return list(_flat(self._placement.run(self._forward, self._arguments(feeds))))
        except RUN_FAILURES as error:
            raise run_error(error) from error

    def close(self) -> None:
        """Drop the module; its memory is given back at once."""
        if self.graphs is not None:
            self.graphs.close()
        self._forward = refuse_closed
        self._placement.close()

    def _arguments(self, feeds: Sequence[Array | None]) -> list[object]:
        arguments = list(self._defaults)
        for bound, array in zip(self._bound, feeds, strict=True):
            if array is None:
                continue
            if bound.kind in SCALARS:
                arguments[bound.position] = one_value(bound.spec, array)
            else:
                arguments[bound.position] = self._placement.to_device(array, bound.position)
        return arguments

    def _results(self, returned: object) -> list[torch.Tensor]:
        results = _flat(returned)
        return [result_of(results, position, spec) for position, spec in self._outputs]


def _flat(returned: object) -> Sequence[object]:
    results = [returned] if isinstance(returned, torch.Tensor) else returned
    if not isinstance(results, list | tuple):
        raise EngineError(f"forward returned {type(returned).__name__} instead of tensors")
    return results


def one_value(spec: TensorSpec, array: Array) -> object:
    """Return the single element of a tensor that feeds an int, float or bool argument.

    Raises:
        InvalidArgumentError: The tensor has not exactly one element.
    """
    if array.size != 1:
        raise InvalidArgumentError(
            f"input '{spec.name}' takes exactly one value, got {array.size}: send shape [1]"
        )
    value: object = array.item()
    return value


def result_of(results: Sequence[object], position: int, spec: TensorSpec) -> torch.Tensor:
    """Return one result, checked against its configured spec.

    Raises:
        EngineError: It is not there, no tensor, or of another datatype.
    """
    found = results[position] if position < len(results) else None
    if not isinstance(found, torch.Tensor):
        raise EngineError(
            f"forward returned no tensor for output '{spec.name}' (result {position} of "
            f"{len(results)}): correct the outputs in the configuration"
        )
    datatype = DATATYPES.get(found.dtype)
    if datatype is not spec.datatype:
        raise EngineError(
            f"output '{spec.name}' is {datatype or found.dtype} in the model, {spec.datatype} in "
            "the configuration: correct the configuration"
        )
    return found


def run_error(error: BaseException) -> BasculeError:
    """Return what a failed run means to the caller."""
    text = str(error)
    message = clean_engine_message(text)
    # torch.jit.Error is an exception that the model's own code raised: its check of the inputs.
    guarded = isinstance(error, AssertionError) and message.startswith("Guard failed")
    refused = isinstance(error, torch.jit.Error) and "NotImplementedError" not in text
    if guarded or refused or is_callers_fault(message):
        return InvalidArgumentError(f"the model cannot run these inputs: {message}")
    return EngineError(f"the model failed: {message}")


def refuse_closed(*_: object) -> NoReturn:
    """Stand in for a module that was closed.

    Raises:
        EngineError: Always.
    """
    raise EngineError("the model was closed and cannot run any more")
