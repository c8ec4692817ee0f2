"""Pure: can the installed engine run the operators of an ONNX file?"""

from collections.abc import Iterator
from typing import Final

from runtimes.facts import DomainLimit, OnnxRuntimeFacts
from runtimes.findings import Finding
from runtimes.model_facts import OnnxModel, OperatorUse
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.choice import choice_of
from runtimes.preflight.subject import Subject

# Domains whose operators every ONNX Runtime brings along, or defines when it optimises a graph.
ENGINE_DOMAINS: Final = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
        "org.pytorch.aten",
    }
)
OLD_OPSET: Final = 13
SHOWN: Final = 3


def check_onnx(subject: Subject) -> Iterator[Finding]:
    """Yield what the engine will not run; versions are compared only where a node is known."""
    model = subject.model
    if not isinstance(model, OnnxModel):
        return
    engine = subject.placement.node.onnxruntime if subject.placement else None
    name = subject.folder.model_file
    newer = () if engine is None else tuple(_too_new(name, model, engine))
    yield from newer
    yield from _operators(name, model, is_opset_known=not newer)
    yield from _compiled(name, model)
    choice = choice_of(subject)
    if engine is not None and choice is not None and not choice.is_cuda:
        yield from _kernels(name, model, engine)
    opset = model.opsets.get("", 0)
    if 0 < opset < OLD_OPSET:
        yield found(
            "BP-O07",
            name,
            f"opset {opset} is old: quantisation and shape inference are weaker below {OLD_OPSET}",
            f"export the model with opset {OLD_OPSET} or newer when you train it next",
            evidence=Evidence(str(opset), str(OLD_OPSET)),
        )


def _too_new(name: str, model: OnnxModel, engine: OnnxRuntimeFacts) -> Iterator[Finding]:
    own = DomainLimit(domain="ai.onnx", max_opset=engine.max_opset)
    opsets = {domain or own.domain: opset for domain, opset in model.opsets.items()}
    for limit in (own, *engine.domains):
        opset = opsets.get(limit.domain, 0)
        if limit.max_opset and opset > limit.max_opset:
            yield found(
                "BP-O01",
                name,
                f"opset {limit.domain} {opset} is newer than {limit.max_opset}, the newest that "
                f"ONNX Runtime {engine.version} knows",
                f"export it with opset {limit.max_opset} or lower, or install a newer onnxruntime",
                evidence=Evidence(str(opset), f"<= {limit.max_opset}"),
            )
    if engine.max_ir_version and model.ir_version > engine.max_ir_version:
        yield found(
            "BP-O02",
            name,
            f"IR version {model.ir_version} is newer than {engine.max_ir_version}, the newest that "
            f"ONNX Runtime {engine.version} reads",
            f"save it with IR version {engine.max_ir_version} or lower, or install a newer "
            "onnxruntime",
            evidence=Evidence(str(model.ir_version), f"<= {engine.max_ir_version}"),
        )


def _operators(name: str, model: OnnxModel, *, is_opset_known: bool) -> Iterator[Finding]:
    custom = [
        use
        for use in model.operators
        if use.domain not in ENGINE_DOMAINS and (use.domain, use.name) not in model.local_functions
    ]
    if custom:
        yield found(
            "BP-O03",
            name,
            f"{_listed(custom)} is not part of ONNX Runtime, and libraries of custom operators are "
            "not loaded",
            "export the model with standard operators, or with the operator as an ONNX function",
            evidence=Evidence(str(custom[0]), "a standard operator"),
        )
    # Above the newest opset that is known, nobody here can tell which operators exist.
    if model.unknown_operators and is_opset_known:
        opset = model.opsets.get("", 0)
        yield found(
            "BP-O04",
            name,
            f"{_listed(list(model.unknown_operators))} does not exist at opset {opset}",
            "export the model again with an opset that has the operator, or without it",
            evidence=Evidence(str(model.unknown_operators[0]), f"an operator of opset {opset}"),
        )


def _kernels(name: str, model: OnnxModel, engine: OnnxRuntimeFacts) -> Iterator[Finding]:
    lacking = sorted(
        f"{operator}:{datatype.value}"
        for operator, datatype in model.typed_operators
        if f"{operator}:{datatype.value}" in engine.missing_cpu_kernels
    )
    if lacking:
        first, _, datatype = lacking[0].partition(":")
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        yield found(
            "BP-O05",
            name,
            f"ONNX Runtime {engine.version} has no CPU kernel for {first} of {datatype}{more}",
            f"export the model with FP32 in place of {datatype}, or list a profile for a GPU",
            evidence=Evidence(", ".join(lacking[:SHOWN]), "a datatype with CPU kernels"),
        )


def _compiled(name: str, model: OnnxModel) -> Iterator[Finding]:
    compiled = [use for use in model.operators if use.name in {"EPContext", "TRTEngine"}]
    if compiled:
        yield found(
            "BP-H03",
            name,
            f"{compiled[0]} holds an engine that was compiled for one GPU, driver and library",
            "bring the ONNX file that it was compiled from",
            evidence=Evidence(str(compiled[0]), "portable operators"),
        )


def _listed(uses: list[OperatorUse]) -> str:
    names = ", ".join(str(use) for use in uses[:SHOWN])
    return names + (f" and {len(uses) - SHOWN} more" if len(uses) > SHOWN else "")
