"""Pure: can the installed torch read a TorchScript or torch.export archive?"""

from collections.abc import Iterator
from typing import Final

from runtimes.facts import TorchFacts
from runtimes.findings import Finding, Severity
from runtimes.model_facts import Pt2Archive, TorchScriptArchive
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Subject

# Namespaces of operators that torch itself registers, whatever is installed beside it.
TORCH_NAMESPACES: Final = frozenset(
    {
        "aten", "cuda", "c10d_functional", "_c10d_functional", "higher_order", "inductor", "mkl",
        "mkldnn", "mkldnn_prepacked", "onednn", "onnx", "prepacked", "prim", "prims", "profiler",
        "quantized", "_quantized", "quantized_decomposed", "rngprims", "sparse", "static_runtime",
        "symm_mem", "torch", "xnnpack",
    }
)  # fmt: skip
PACKAGES: Final = {"torchvision": "torchvision", "torchaudio": "torchaudio", "fbgemm": "fbgemm-gpu"}
SHOWN: Final = 3


def check_torch(subject: Subject) -> Iterator[Finding]:
    """Yield what torch will not run; versions are compared only where a node is known."""
    engine = subject.placement.node.torch if subject.placement else None
    name = subject.folder.model_file
    match subject.model:
        case TorchScriptArchive() as model:
            yield from _file_version(name, model, engine)
            yield from _operators(name, model.operators)
            yield from _notes(name, model)
        case Pt2Archive() as model:
            yield from _schema(name, model, engine)
            yield from _operators(name, model.operators)
            yield from _fixed_batch(subject, model)
        case _:
            return


def _file_version(
    name: str, model: TorchScriptArchive, engine: TorchFacts | None
) -> Iterator[Finding]:
    newest = engine.max_file_version if engine else 0
    if engine and newest and model.file_version > newest:
        yield found(
            "BP-T01",
            name,
            f"file version {model.file_version} is newer than {newest}, the newest that torch "
            f"{engine.version} reads",
            "install a newer torch, or save the model with the torch that runs here",
            evidence=Evidence(str(model.file_version), f"<= {newest}"),
        )


def _operators(name: str, operators: tuple[str, ...]) -> Iterator[Finding]:
    foreign = [one for one in operators if one.partition("::")[0] not in TORCH_NAMESPACES]
    if foreign:
        namespace = foreign[0].partition("::")[0]
        owner = PACKAGES.get(namespace, "")
        belongs = f" (it belongs to {owner}, which workers do not import)" if owner else ""
        yield found(
            "BP-T02",
            name,
            f"operator {', '.join(foreign[:SHOWN])} is not one of torch's{belongs}",
            "export the model with torch's own operators, or to ONNX",
            evidence=Evidence(foreign[0], "an operator of torch"),
        )


def _notes(name: str, model: TorchScriptArchive) -> Iterator[Finding]:
    yield found(
        "BP-T03",
        name,
        "TorchScript is deprecated since torch 2.11: a later torch may not read it",
        "export the model to ONNX when you train it next",
    )
    if model.is_training:
        yield found(
            "BP-T07",
            name,
            "a module in it was saved in training mode; it is switched to evaluation at load",
            "call module.eval() before saving it",
        )


def _schema(name: str, model: Pt2Archive, engine: TorchFacts | None) -> Iterator[Finding]:
    newest = engine.max_pt2_schema if engine else (0, 0)
    if engine is None or newest == (0, 0) or model.schema_version == (0, 0):
        return
    major, minor = model.schema_version
    shown = Evidence(f"{major}.{minor}", f"{newest[0]}.{newest[1]}")
    if major != newest[0]:
        yield found(
            "BP-T04",
            name,
            f"its schema is {major}.{minor}, and torch {engine.version} reads {newest[0]}.x",
            "export it again with the torch that runs here, or install the torch that exported it",
            evidence=shown,
        )
    elif minor > newest[1]:
        yield found(
            "BP-T04",
            name,
            f"its schema {major}.{minor} is newer than {newest[0]}.{newest[1]} of torch "
            f"{engine.version}: fields of it may be read over",
            "export it again with the torch that runs here, or install a newer torch",
            evidence=shown,
            severity=Severity.WARNING,
        )


def _fixed_batch(subject: Subject, model: Pt2Archive) -> Iterator[Finding]:
    rows = subject.claims.configured.max_batch_rows or 0
    fixed = [one for one in model.inputs if one.shape and one.shape[0] != -1]
    if rows > 1 and fixed:
        size = fixed[0].shape[0]
        yield found(
            "BP-T05",
            f"{subject.folder.model_file} input {fixed[0].name}",
            f"its batch was exported as {size}, and max_batch_size {rows} is claimed",
            "export it again with dynamic_shapes for dimension 0, or set max_batch_size 0",
            evidence=Evidence(str(size), "a free dimension"),
        )
