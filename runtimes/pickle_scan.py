"""Lists what a pickle would import, without unpickling it.

A pickle is a program: it can import any name and call it. Reading its opcodes runs nothing. What is
not on the list of tensors and containers counts as code of its author.
"""

import io
import pickletools
from collections.abc import Iterator
from typing import BinaryIO, Final

MAX_PICKLE_BYTES: Final = 64 << 20
MAX_FOUND: Final = 20

# Modules and names that torch's own archives import to rebuild tensors and containers.
ALLOWED: Final = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "builtins.set",
        "builtins.frozenset",
        "builtins.dict",
        "builtins.complex",
        "__builtin__.set",
        "__builtin__.frozenset",
        "_codecs.encode",
        "torch.Size",
        "torch.device",
        "torch.dtype",
        "torch.nn.parameter.Parameter",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch.serialization._get_layout",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        "torch.Tensor",
        "torch._C.ScriptObject",
        "torch.jit._pickle.build_boollist",
        "torch.jit._pickle.build_doublelist",
        "torch.jit._pickle.build_intlist",
        "torch.jit._pickle.build_tensor_from_id",
        "torch.jit._pickle.build_tensorlist",
        "torch.jit._pickle.restore_type_tag",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
    }
)
SCRIPT_PREFIX: Final = "__torch__."
"""Classes of a TorchScript archive: its own reader looks them up in its code, never in Python."""
_DTYPES: Final = frozenset(
    {
        "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16",
        "bfloat16", "float32", "float64", "complex32", "complex64", "complex128", "quint8", "qint8",
        "qint32", "float8_e4m3fn", "float8_e5m2", "strided",
    }
)  # fmt: skip
_TEXTS: Final = frozenset(
    {
        "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "SHORT_BINSTRING",
        "BINSTRING",
    }
)  # fmt: skip

_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_NAME_PARTS: Final = 2


def foreign_imports(pickle: bytes, *, is_script: bool = False) -> tuple[str, ...]:
    """Return what a pickle imports beyond tensors and containers, as `module.name`.

    Args:
        pickle: Its bytes.
        is_script: It is part of a TorchScript archive, and may name the archive's own classes.

    Raises:
        ValueError: It is too large, or no pickle.
    """
    if len(pickle) > MAX_PICKLE_BYTES:
        raise ValueError(f"a pickle of {len(pickle)} bytes is too large to be looked through")
    found: dict[str, None] = {}
    for name in _imports(pickle):
        if not _is_allowed(name, is_script=is_script):
            found[name[:120]] = None
        if len(found) >= MAX_FOUND:
            break
    return tuple(found)


def saved_flags(pickle: bytes, key: str) -> frozenset[bool]:
    """Return the truth values that a pickle stores under a key.

    Raises:
        ValueError: It is no pickle.
    """
    values: set[bool] = set()
    last: str | None = None
    for name, value in _texts_and_rest(io.BytesIO(pickle)):
        if last == key and name in {"NEWTRUE", "NEWFALSE"}:
            values.add(name == "NEWTRUE")
        last = value
    return frozenset(values)


def _imports(pickle: bytes) -> Iterator[str]:
    """Yield every name that is imported; one that only a run would tell counts as foreign."""
    texts: list[str] = []
    stream = io.BytesIO(pickle)
    for name, value in _texts_and_rest(stream):
        if name in {"GLOBAL", "INST"}:
            yield str(value).replace(" ", ".", 1)
        elif name == "STACK_GLOBAL":
            # Only what was put on the stack by the two opcodes just before is certain.
            yield ".".join(texts) if len(texts) == _NAME_PARTS else "an object without a plain name"
        elif name in {"EXT1", "EXT2", "EXT4"}:
            yield "an extension registered with copyreg"
        is_text = name in _TEXTS or name in _GETS
        texts = [*texts[-1:], value] if is_text and isinstance(value, str) else []
    if stream.tell() < len(pickle):  # torch reads one pickle after the other out of old files
        yield "what stands behind its end"


def _texts_and_rest(pickle: BinaryIO) -> Iterator[tuple[str, str | None]]:
    """Yield each opcode and its text; what is taken from the memo counts as the text in it."""
    memo: dict[str, str] = {}
    last = ""
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            name = opcode.name
            if name in _PUTS:
                memo[str(argument)] = last
                continue
            if name == "MEMOIZE":
                memo[str(len(memo))] = last  # as an unpickler counts: what was put counts, too
                continue
            text = memo.get(str(argument), "") if name in _GETS else argument
            last = text if isinstance(text, str) and name in _TEXTS | _GETS else ""
            yield name, text if isinstance(text, str) else None
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError("a pickle in it is damaged") from error


def _is_allowed(name: str, *, is_script: bool) -> bool:
    module, _, attribute = name.rpartition(".")
    return (
        name in ALLOWED
        or (is_script and name.startswith(SCRIPT_PREFIX))
        or (module == "torch" and (attribute.endswith("Storage") or attribute in _DTYPES))
    )
