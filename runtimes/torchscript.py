"""TorchScript models by torch, on the CPU or a CUDA device.

Names, datatypes and shapes come from the model's configuration (`runtimes.torch_schema`), those of
outputs that it does not list from runs (`runtimes.torch_outputs`). Modules are not frozen: freezing
would fold attributes that `forward` changes into constants.

Two effects reach the whole process: torch's settings are global (`runtimes.torch_settings`), and
`torch.jit.load` holds the interpreter lock while it reads (some 0.4 s for 90 MB), which stalls
every other version there: serve large ones in a worker of their own.
"""

import re
import warnings
from pathlib import Path
from typing import Any, Final

import torch

from runtimes.contract import LoadedModel, LoadRequest, TensorSpec
from runtimes.devices import Device
from runtimes.engine_messages import clean_engine_message
from runtimes.errors import ModelLoadError
from runtimes.torch_devices import require_on_device
from runtimes.torch_effects import Effects, effects_of, notes_of
from runtimes.torch_outputs import outputs_by_running
from runtimes.torch_runs import Callee, Capture, TorchModel
from runtimes.torch_schema import (
    SCALARS,
    TENSORS,
    Argument,
    BoundInput,
    bind_inputs,
    bind_outputs,
    config_to_write,
    outputs_to_write,
)
from runtimes.torch_settings import apply_settings
from runtimes.torch_tensors import CudaPlacement, HostPlacement, Placement

NO_MODULE: Final = (
    "it is a torch archive but no TorchScript module (a checkpoint or a torch.export file): save "
    "the model with torch.jit.script(module).save(path)"
)
NO_ARCHIVE: Final = "it is empty, cut off or no TorchScript archive: copy it again, compare sizes"
UNKNOWN_OPERATOR: Final = (
    "it uses an operator that this torch does not have: export it with standard operators, or with "
    "the torch version that runs here"
)
NOTHING_TOLD: Final = (
    "a TorchScript file does not tell its inputs' datatypes and shapes: write into config.pbtxt, "
    "with the datatypes and dims of this model (full shapes, -1: any size; outputs that are left "
    "out are found by running it)"
)
NO_ROOM: Final = (
    "its device has no room for it: use a device with more memory or fewer versions, or a profile "
    "with a larger gpu_arena_bytes"
)

# What torch says when it refuses a file → what to do about it. The first match counts.
REMEDIES: Final = (
    (r"constants\.pkl", NO_MODULE),
    (r"not a ZIP archive|central directory|failed (?:reading|finding)", NO_ARCHIVE),
    (r"out of memory", NO_ROOM),
    (r"[Uu]nknown (?:builtin|custom) op", UNKNOWN_OPERATOR),
)


class TorchScriptRuntime:
    """Loads `.pt` and `.jit` files."""

    platform = "pytorch_libtorch"
    backend = "pytorch"

    def load(self, request: LoadRequest) -> LoadedModel:
        """Load a module and bind the configured tensors to its `forward`.

        Raises:
            ModelLoadError: The file, the configuration or the device cannot be used.
        """
        check_device(request.device)
        notes = apply_settings(request)
        module = read_module(request.file, request.device)
        forward: Any = module.forward
        schema = forward.schema
        arguments = [
            Argument(
                name=argument.name,
                kind=str(argument.type),
                has_default=argument.has_default_value(),
            )
            for argument in schema.arguments[1:]
        ]
        count = result_count(schema.returns[0].type)
        if not request.declared_inputs:
            raise ModelLoadError(f"{NOTHING_TOLD}:\n{config_to_write(arguments, count)}")
        bound = bind_inputs(arguments, request.declared_inputs)
        effects = effects_of(module.inlined_graph)
        callee = Callee(
            forward=forward, defaults=[argument.default_value for argument in schema.arguments[1:]]
        )
        placement = placement_for(request.device, effects)
        declared = request.declared_outputs
        if not declared:
            declared = found_outputs(TorchModel(callee, bound, (), placement, ()), effects, count)
        positions = bind_outputs(count, declared)
        model = TorchModel(
            callee,
            bound,
            tuple(zip(positions, declared, strict=True)),
            placement,
            (*notes, *notes_of(effects)),
            capture_of(request, placement, effects, bound),
        )
        model.has_loops = effects.has_loops
        return model


def found_outputs(model: TorchModel, effects: Effects, count: int | None) -> tuple[TensorSpec, ...]:
    """Return the outputs that a run shows.

    Raises:
        ModelLoadError: A run would change the module's state, or shows nothing; the message has the
            text that is missing.
    """
    try:
        if effects.attributes:
            raise ModelLoadError("a run would change the state that it keeps")  # noqa: TRY301  one refusal
        return outputs_by_running(model)
    except ModelLoadError as error:
        raise ModelLoadError(
            f"the configuration lists no outputs, and no run can show them: {error.message}; write "
            "into config.pbtxt, with the datatypes and dims of this model (-1: any size):\n"
            f"{outputs_to_write(count)}"
        ) from error


def check_device(device: Device) -> None:
    """Refuse a CUDA device that torch cannot use.

    Raises:
        ModelLoadError: There is no such device; the message says what is missing.
    """
    if device.kind == "cpu":
        return
    if torch.version.cuda is None:
        raise ModelLoadError(
            f"the model asks for {device}, and torch {torch.__version__} was built without CUDA: "
            "install a CUDA build of torch, or serve the model with device cpu"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.index >= count:
        raise ModelLoadError(
            f"the model asks for {device}, and torch sees {count} CUDA devices here: check the "
            "driver with nvidia-smi, or serve the model with device cpu"
        )


def read_module(file: Path, device: Device) -> torch.jit.ScriptModule:
    """Read a TorchScript archive onto a device, ready for inference.

    Raises:
        ModelLoadError: It is missing, no TorchScript archive, or has no `forward`.
    """
    if not file.is_file():
        raise ModelLoadError(f"model file '{file.name}' does not exist or cannot be read")
    try:
        with warnings.catch_warnings():
            # torch.jit is deprecated in favour of torch.export; serving its files is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]  # torch has no types here
                str(file), map_location=str(device)
            )
        module.eval()
        require_on_device(module.state_dict().items(), device)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelLoadError(explain_load_failure(str(error), file.name)) from error
    if not hasattr(module, "forward"):
        raise ModelLoadError(f"'{file.name}' has no forward method: save a module that has one")
    return module


def explain_load_failure(text: str, file_name: str) -> str:
    """Return why torch refused a file, with the remedy where it is known."""
    clean = clean_engine_message(text)
    for pattern, remedy in REMEDIES:
        if re.search(pattern, clean):
            first = clean.partition(". ")[0]
            return f"'{file_name}' cannot be loaded: {remedy} (torch says: {first})"
    return f"'{file_name}' cannot be loaded: {clean}"


def capture_of(
    request: LoadRequest, placement: Placement, effects: Effects, bound: tuple[BoundInput, ...]
) -> Capture | None:
    """Return what captures a call as a CUDA graph; None: graphs are not wanted, or not possible.

    A module that keeps tensors between runs, or is told numbers, does another thing each time.
    """
    if not request.options.cuda_graphs or not isinstance(placement, CudaPlacement):
        return None
    is_fixed = not effects.attributes and all(one.kind not in SCALARS for one in bound)
    return placement.capture if is_fixed else None


def placement_for(device: Device, effects: Effects) -> Placement:
    """Return how tensors travel to a device."""
    if device.kind == "cuda":
        return CudaPlacement(device)
    return HostPlacement(
        copies_inputs=effects.writes_tensors, copies_outputs=bool(effects.attributes)
    )


def result_count(kind: "torch.JitType") -> int | None:
    """Return how many tensors a return type holds; None for a list, known after a run only.

    Raises:
        ModelLoadError: It holds something else than tensors.
    """
    parts: list[torch.JitType] = [kind]
    if isinstance(kind, torch.TupleType):
        parts = kind.elements()
    if isinstance(kind, torch.ListType):
        parts = [kind.getElementType()]
    for part in parts:
        if str(part) not in TENSORS:
            raise ModelLoadError(
                f"forward returns {kind}; a tensor, or a tuple or list of tensors, can be served: "
                "wrap the module in one that returns those"
            )
    return None if isinstance(kind, torch.ListType) else len(parts)
