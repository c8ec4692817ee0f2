"""Pure: what an engine says, made fit for a caller, and whose fault it was.

Engines answer with C++ source locations, signatures, paths of this machine and tracebacks of the
place where the model was trained. A caller gets the sentence that matters, and nothing of those.
"""

import re
from typing import Final

MESSAGE_CHARACTERS: Final = 600

_ORT_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LOAD_PREFIX = re.compile(r"Load model from .{0,4096}? failed:", re.DOTALL)
_NODE = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)
_SOURCE = re.compile(r"[\w./\\+-]+\.(?:cc|cpp|cxx|h|hpp|cu|cuh):\d+ ")
_FUNCTION = re.compile(r"[A-Z]\w*[a-z]\w*[A-Z]\w* ")
_CONDITION = re.compile(r"[^.]{1,200} was (?:false|not true)\. ")
_CUDA_PLACE = re.compile(r" ?;? ?(?:hostname|file|line|expr)=[^;]*;?")
_TORCH_ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception)): (.*)", re.MULTILINE | re.DOTALL)
_TORCH_NATIVE = re.compile(r"\s*Exception raised from .*", re.DOTALL)
_PATH = re.compile(r"(?<!Name:')(?<![\w./])(?:/[\w.+@~-]+){2,}/?|\b[A-Za-z]:\\[\w.\\+@~ -]+")

# The engine's own trouble, whatever else the message says.
_ENGINE_FAULT = re.compile(
    r"alloc|out of memory|CUDA|CUBLAS|CUDNN|cuDNN|NCCL|no kernel image|device-side|"
    r"not implemented|NotImplemented|NOT_IMPLEMENTED|Missing Input|missing from input feed",
)
# What a batch's values or shapes can cause, in the words of ONNX Runtime's and torch's kernels.
_CALLER_FAULT = re.compile(
    r"[Oo]ut of (?:data )?(?:range|bounds)|out-of-(?:range|bounds)|broadcast|cannot be multiplied|"
    r"mismatch|must (?:have|be|match)|should be (?:the same|equal|in|at|less|greater)|"
    r"shape|dimension|\bdims?\b|\brank\b|size of tensor|incompatible|not compatible|"
    r"sto(?:ll|l|i|ull|ul|f|d|ld)\b|unparsable|exceeds?|too (?:short|long|small|large)|"
    r"[Ii]nvalid|divi(?:sion|de) by zero|Expected|negative",
)


def clean_engine_message(text: str) -> str:
    """Return an engine's message on one line, without source locations, paths and tracebacks.

    Of nested nodes (ONNX Runtime's If and Loop) the innermost is named. At most
    `MESSAGE_CHARACTERS` long.
    """
    text = _torch_last_error(text)
    text = _LOAD_PREFIX.sub("", _ORT_CODE.sub("", text))
    text = _without_sources(text)
    text = _PATH.sub(_file_name, text)
    text = _innermost_node(text)
    text = _CUDA_PLACE.sub("", text)
    line = " ".join(text.split())
    if len(line) > MESSAGE_CHARACTERS:
        line = line[: MESSAGE_CHARACTERS - 1] + "…"
    return line or "the engine gave no reason"


def is_callers_fault(text: str) -> bool:
    """Tell whether an engine's message blames the values or shapes of the batch.

    Only for failures of a run whose tensors had the right names, datatypes and ranks. In doubt the
    answer is no: then the failure counts as the engine's.
    """
    return _ENGINE_FAULT.search(text) is None and _CALLER_FAULT.search(text) is not None


def _torch_last_error(text: str) -> str:
    """Cut a TorchScript traceback down to its last line, the error itself."""
    text = _TORCH_NATIVE.sub("", text)
    if "Traceback of TorchScript" not in text:
        return text
    *_, tail = re.split(r"^\s*~*\s*<--- HERE", text, flags=re.MULTILINE)
    found = _TORCH_ERROR.search(tail)
    return found[1] if found else tail


def _file_name(path: re.Match[str]) -> str:
    return "…/" + path[0].replace("\\", "/").rstrip("/").rpartition("/")[2]


def _innermost_node(text: str) -> str:
    nodes = list(_NODE.finditer(text))
    if not nodes:
        return text
    last = nodes[-1]
    named = f"node '{last[2]}' ({last[1]}): " if last[2] else f"node {last[1]}: "
    return text[: nodes[0].start()] + named + text[last.end() :]


def _without_sources(text: str) -> str:
    """Take out `file.cc:12 void f(int) [with T = int] condition was false. `, wherever it is."""
    found = _SOURCE.search(text)
    while found is not None:
        head, tail = text[: found.start()], text[found.end() :]
        tail = _without_signature(tail)
        stripped = _CONDITION.sub("", tail, count=1) if _CONDITION.match(tail) else tail
        text = head + (stripped or tail)
        found = _SOURCE.search(text, len(head))
    return text


def _without_signature(text: str) -> str:
    """Take a C++ function signature, or a function's bare name, off the beginning."""
    name = _FUNCTION.match(text)
    if name is not None:
        return text[name.end() :]
    end = text.find("(")
    if end < 0 or "::" not in text[:end]:
        return text
    while end < len(text) and text[end] == "(":  # `operator()(int)` has two pairs
        end = _closing(text, end, "()") + 1
    rest = text[end:].lstrip().removeprefix("const").lstrip()
    if rest.startswith("[with "):
        rest = rest[_closing(rest, 0, "[]") + 1 :].lstrip()
    return rest


def _closing(text: str, start: int, pair: str) -> int:
    """Return the index of the bracket that closes the one at `start`, or the last index."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == pair[0]) - (text[index] == pair[1])
        if depth == 0:
            return index
    return len(text) - 1
