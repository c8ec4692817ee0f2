"""Which runtime serves which format: names here, code imported on first use.

Engines are large (torch takes over a second to import), so a process pays only for the formats that
it serves. A new runtime is one module and one line of `RUNTIMES`.
"""

from importlib import import_module
from pathlib import PurePath
from types import MappingProxyType
from typing import Final, cast

from runtimes.contract import Runtime
from runtimes.errors import UnsupportedError

RUNTIMES: Final[MappingProxyType[str, str]] = MappingProxyType(
    {
        "onnx": "runtimes.onnxrt:OnnxRuntime",
        "torchscript": "runtimes.torchscript:TorchScriptRuntime",
        "torch_export": "runtimes.torch_export:TorchExportRuntime",
        "echo": "runtimes.echo:EchoRuntime",
    }
)

SUFFIXES: Final[MappingProxyType[str, str]] = MappingProxyType(
    {".onnx": "onnx", ".pt": "torchscript", ".jit": "torchscript", ".echo": "echo"}
)


def runtime_for(format_name: str) -> Runtime:
    """Return a new runtime of a format; imports its engine on first use.

    Raises:
        UnsupportedError: No such format, or its engine is not installed.
    """
    address = RUNTIMES.get(format_name)
    if address is None:
        raise UnsupportedError(
            f"unknown model format '{format_name[:40]}': known are {', '.join(RUNTIMES)}"
        )
    module, _, attribute = address.partition(":")
    try:
        made = getattr(import_module(module), attribute)()
    except ImportError as error:
        raise UnsupportedError(
            f"format {format_name} needs a package that cannot be imported here: {error}"
        ) from error
    return cast("Runtime", made)


def format_of(path: PurePath | str) -> str:
    """Return the format of a model file by its name.

    Raises:
        UnsupportedError: The suffix belongs to no format that is served.
    """
    name = PurePath(path).name
    suffix = PurePath(name).suffix.lower()
    if suffix == ".pt2":
        raise UnsupportedError(
            f"'{name}' is a torch.export archive: loading one can run code that it carries, so it "
            "is served from signed bundles only; export the model to ONNX or TorchScript instead"
        )
    format_name = SUFFIXES.get(suffix)
    if format_name is None:
        raise UnsupportedError(
            f"'{name}' is no model file that is known here: names end in {', '.join(SUFFIXES)}"
        )
    return format_name
