"""Models of torch.export (`.pt2`) by torch, on the CPU or a CUDA device.

Names of inputs, datatypes and shapes come from the exported program itself; a dimension that it
leaves free is -1. Its results are `OUTPUT__0`, … or the keys of a dictionary, unless the
configuration names them, in order. What it was traced with beyond that (a dimension's range, two
sizes that must be equal) are its guards: they refuse a call.

`torch.export.load` unpickles members of the archive, so loading a file can run code of its author:
a request must say that it may (`LoadRequest.may_execute`), and the archive is looked at first.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch._export.serde.schema import SCHEMA_VERSION
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from runtimes.contract import LoadedModel, LoadRequest
from runtimes.devices import Device
from runtimes.engine_messages import clean_engine_message
from runtimes.errors import ModelLoadError
from runtimes.exported_call import callee_of, effects_of
from runtimes.exported_signature import bound_inputs, bound_outputs
from runtimes.file_kind import read_model_file
from runtimes.model_facts import Pt2Archive, UnreadableFile
from runtimes.torch_devices import require_on_device
from runtimes.torch_effects import notes_of
from runtimes.torch_runs import TorchModel
from runtimes.torch_settings import apply_settings
from runtimes.torchscript import check_device, placement_for


class TorchExportRuntime:
    """Loads `.pt2` files."""

    platform = "pytorch_export"
    backend = "pytorch"

    def load(self, request: LoadRequest) -> LoadedModel:
        """Load an exported program.

        Raises:
            ModelLoadError: The request does not say that it may run code, or the file, the
                configuration or the device cannot be used.
        """
        if not request.may_execute:
            raise ModelLoadError(
                f"BP-S02 '{request.file.name}': loading it can run code that it carries, and "
                "nobody trusted has vouched for it: serve it from a signed bundle of an "
                "allow-listed model (bascule pack --sign, bascule keys policy --may-execute)"
            )
        check_archive(request.file)
        check_device(request.device)
        notes = apply_settings(request)
        program = read_program(request.file, request.device)
        effects = effects_of(program)
        return TorchModel(
            callee_of(program),
            bound_inputs(program, request.declared_inputs),
            bound_outputs(program, request.declared_outputs),
            placement_for(request.device, effects),
            (*notes, *notes_of(effects)),
        )


def check_archive(file: Path) -> None:
    """Refuse what is no archive that this torch can load, without loading anything.

    Raises:
        ModelLoadError: It is missing, damaged, of another kind, or of another schema.
    """
    try:
        facts = read_model_file(file)
    except OSError as error:
        raise ModelLoadError(
            f"model file '{file.name}' does not exist or cannot be read"
        ) from error
    if isinstance(facts, UnreadableFile):
        raise ModelLoadError(
            f"'{file.name}' cannot be loaded: {facts.reason}: copy it again, compare sizes"
        )
    if not isinstance(facts, Pt2Archive):
        raise ModelLoadError(
            f"'{file.name}' is no torch.export archive: save the model with torch.export.save, or "
            "give the file the name of its format"
        )
    if facts.schema_version[0] != SCHEMA_VERSION[0]:
        found, here = (".".join(map(str, pair)) for pair in (facts.schema_version, SCHEMA_VERSION))
        raise ModelLoadError(
            f"BP-T04 '{file.name}' has schema {found}, and torch {torch.__version__} reads "
            f"{here}: export it again with the torch version that runs here"
        )


def read_program(file: Path, device: Device) -> ExportedProgram:
    """Load an archive onto a device. This can run code that the archive carries.

    Raises:
        ModelLoadError: torch refuses it, or it cannot be moved to the device.
    """
    load: Any = torch.export.load
    try:
        with warnings.catch_warnings():
            # torch warns of its own pickles and of tensors that share read-only memory.
            warnings.simplefilter("ignore")
            program: ExportedProgram = load(str(file))
            if device.kind == "cuda":
                program = move_to_device_pass(program, str(device))
    except Exception as error:  # torch promises no kinds of errors here
        raise ModelLoadError(
            f"'{file.name}' cannot be loaded: {clean_engine_message(str(error))}"
        ) from error
    require_on_device(program.state_dict.items(), device)
    return program
