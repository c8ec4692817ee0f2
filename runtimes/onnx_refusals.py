"""Pure: why ONNX Runtime refused a model file, and what to do about it."""

import re
from typing import Final

from runtimes.engine_messages import clean_engine_message

NEWER_OPSET: Final = (
    "it needs opset {0} of {1}, and ONNX Runtime {version} knows up to {2}: export it with opset "
    "{2} or lower, or install a newer onnxruntime"
)
NEWER_IR: Final = (
    "its ONNX IR version is {0}, and ONNX Runtime {version} reads up to {1}: export it with IR "
    "version {1} or lower, or install a newer onnxruntime"
)
UNKNOWN_OPERATOR: Final = (
    "operator {0} is not part of ONNX Runtime: export the model with standard operators"
)
UNKNOWN_ATTRIBUTE: Final = (
    "its operator {1} has the attribute {0}, which ONNX Runtime {version} does not know: export it "
    "without that attribute, or install a newer onnxruntime"
)
EXTERNAL_MISSING: Final = (
    "its external data file {0} is missing: put it beside the model file, under that name"
)
EXTERNAL_OUTSIDE: Final = (
    "it names external data outside of its own folder, which is refused: keep the data file beside "
    "the model file"
)
EXTERNAL_BROKEN: Final = (
    "its external data cannot be used: copy the model file and its data file again"
)
NO_MODEL: Final = "it is empty, cut off or no ONNX model: copy it again and compare sizes"
NO_KERNEL: Final = (
    "ONNX Runtime has no kernel for one of its operators on this device: use another device, "
    "datatype or opset"
)
ON_CPU: Final = (
    "some of its nodes would run on the CPU, and ONNX Runtime {version} cannot tell which: use a "
    "newer onnxruntime, or a profile with allow_cpu_nodes"
)
NO_ROOM: Final = (
    "its device has no room for it: use a device with more memory or fewer versions, or a profile "
    "with a larger gpu_arena_bytes"
)

OPSET_LIMIT: Final = r"Opset (\d+) is under development.*domain ([\w.]+) is till opset (\d+)"
IR_LIMIT: Final = r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"

MISSING_KERNEL: Final = r"Could not find an implementation|NOT_IMPLEMENTED"

# What the engine says → the remedy, filled with the pattern's groups. The first match counts.
REMEDIES: Final = (
    (OPSET_LIMIT, NEWER_OPSET),
    (IR_LIMIT, NEWER_IR),
    (r"([\w.]+:\w+)\(-?\d+\) is not a registered function/op", UNKNOWN_OPERATOR),
    (r"Unrecognized attribute: (\w+) for operator (\w+)", UNKNOWN_ATTRIBUTE),
    (r"External data path does not exist: \"?(?:…/)?([^\"]*)", EXTERNAL_MISSING),
    (r"External data path escapes model directory", EXTERNAL_OUTSIDE),
    (r"[Ee]xternal data|out of bounds.*initializer|initializer.*out of bounds", EXTERNAL_BROKEN),
    (r"Protobuf parsing failed|No graph was found", NO_MODEL),
    (r"Failed to allocate memory|BFCArena|smaller than requested|out of memory", NO_ROOM),
    (r"assigned to the default CPU EP", ON_CPU),
    (MISSING_KERNEL, NO_KERNEL),
)


def finding_of(text: str) -> str:
    """Return the code of preflight for the engine's refusal of a file."""
    return "BP-O05" if re.search(MISSING_KERNEL, text) else "BP-R07"


def explain_load_failure(text: str, file_name: str, engine_version: str) -> str:
    """Return why the engine refused a file, with the remedy where it is known.

    Args:
        text: The engine's message; opset and IR version are read from it.
        file_name: The model file's name, without its folder.
        engine_version: ONNX Runtime's version.
    """
    clean = clean_engine_message(text)
    for pattern, remedy in REMEDIES:
        found = re.search(pattern, clean, re.DOTALL)
        if found is not None:
            why = remedy.format(*found.groups(), version=engine_version)
            return f"'{file_name}' cannot be loaded: {why} (ONNX Runtime says: {clean})"
    return f"'{file_name}' cannot be loaded: {clean}"
