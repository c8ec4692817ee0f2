"""Subjects of preflight that are well, to be broken one field at a time."""

from dataclasses import replace
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.facts import NodeFacts
from runtimes.model_facts import OnnxModel, OperatorUse, TorchScriptArchive
from runtimes.preflight.subject import (
    Claims,
    FileFact,
    FolderFacts,
    Metadata,
    PackedEnvironment,
    Placement,
    Subject,
    Trust,
)
from runtimes.preflight.trial import Trial
from runtimes.profile import SHIPPED
from runtimes.signature import Configured
from tests.fakes.node_facts import A100_NODE, CPU_NODE

GIB: Final = 1 << 30
SHA: Final = "ab" * 32
MODEL: Final = OnnxModel(
    ir_version=8,
    opsets={"": 17},
    operators=(OperatorUse(domain="", name="Gemm", count=1),),
    inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 16)),),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 4)),),
    weight_bytes=272,
    proto_bytes=400,
)
SCRIPT: Final = TorchScriptArchive(file_version=3, weight_bytes=64)
CLAIMS: Final = Claims(
    configured=Configured(
        max_batch_rows=8,
        inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(16,)),),
        outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(4,)),),
    )
)
TRIAL: Final = Trial(device="cpu", max_batch_rows=8, is_batch_claimed=True, run_s=0.001)
ON_CPU: Final = Subject(
    name="m:1",
    format="onnx",
    folder=FolderFacts(
        model_file="model.onnx",
        listed=(FileFact(path="model.onnx", size_bytes=400, sha256=SHA),),
        measured=(FileFact(path="model.onnx", size_bytes=400, sha256=SHA),),
    ),
    model=MODEL,
    claims=CLAIMS,
    packed=PackedEnvironment(python="3.12.1", machine="x86_64", packages={"numpy": "2.4.1"}),
    trust=Trust(state="unsigned"),
    metadata=Metadata(licence="apache-2.0", has_card=True, has_golden=True),
    placement=Placement(node=CPU_NODE),
    trial=TRIAL,
)
assert A100_NODE.onnxruntime is not None
GPU_NODE: Final = replace(A100_NODE, onnxruntime=replace(A100_NODE.onnxruntime, cuda_problem=""))
ON_GPU: Final = replace(ON_CPU, placement=Placement(node=GPU_NODE, profiles=(SHIPPED["cuda"],)))
ON_GPU_TORCH: Final = replace(ON_GPU, format="torchscript", model=SCRIPT)


def on(subject: Subject, node: NodeFacts, *profiles: str) -> Subject:
    """Place a subject on a node, by shipped profiles or those that it has."""
    before = subject.placement
    kept = before.profiles if before else ()
    chosen = tuple(SHIPPED[name] for name in profiles) or kept
    return replace(subject, placement=Placement(node=node, profiles=chosen))


def claiming(subject: Subject, **changes: object) -> Subject:
    """Change what the configuration claims."""
    return replace(subject, claims=replace(subject.claims, **changes))  # type: ignore[arg-type]  # any field of the record


def running(**changes: object) -> Subject:
    """Change what running the model showed."""
    return replace(ON_CPU, trial=replace(TRIAL, **changes))  # type: ignore[arg-type]  # any field of the record
