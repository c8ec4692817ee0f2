"""Facts of a node as a file: untrusted bytes become `runtimes.facts.NodeFacts` here.

`runtimes.facts_json` writes what this reads.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtimes.errors import InvalidArgumentError
from runtimes.facts import DomainLimit, GpuFacts, NodeFacts, OnnxRuntimeFacts, TorchFacts

MAX_FACTS_BYTES: Final = 4 << 20

Text = Annotated[str, Field(max_length=400)]
Size = Annotated[int, Field(ge=0, le=1 << 60)]
Version = Annotated[int, Field(ge=0, le=1 << 31)]
Texts = Annotated[dict[Text, Text], Field(max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Gpu(_Strict):
    index: int = Field(ge=0, le=1 << 16)
    uuid: Text
    name: Text
    memory_bytes: Size
    free_memory_bytes: Size
    compute_capability: tuple[Version, Version]
    is_mig: bool = False
    compute_mode: Text = "default"
    other_process_bytes: Size = 0

    def to_facts(self) -> GpuFacts:
        return GpuFacts(**dict(self))


class _Domain(_Strict):
    domain: Text
    max_opset: Version


class _OnnxRuntime(_Strict):
    version: Text
    distributions: tuple[Text, ...] = Field(max_length=100)
    providers: tuple[Text, ...] = Field(max_length=100)
    max_opset: Version
    max_ir_version: Version
    cuda_version: Text = ""
    cuda_problem: str = Field("", max_length=4000)
    missing_cpu_kernels: frozenset[Text] = Field(frozenset(), max_length=2000)
    domains: tuple[_Domain, ...] = Field((), max_length=100)

    def to_facts(self) -> OnnxRuntimeFacts:
        domains = tuple(DomainLimit(**dict(item)) for item in self.domains)
        return OnnxRuntimeFacts(**{**dict(self), "domains": domains})


class _Torch(_Strict):
    version: Text
    cuda_version: Text = ""
    cuda_architectures: tuple[Text, ...] = Field((), max_length=100)
    max_file_version: Version = 0
    max_pt2_schema: tuple[Version, Version] = (0, 0)
    cuda_problem: str = Field("", max_length=4000)

    def to_facts(self) -> TorchFacts:
        return TorchFacts(**dict(self))


class _Node(_Strict):
    machine: Text
    system: Text
    libc: Text
    cpu_model: Text
    cpu_flags: frozenset[Text] = Field(max_length=2000)
    cpu_count: int = Field(ge=1, le=1 << 16)
    memory_bytes: Size
    free_memory_bytes: Size
    python: Text
    packages: Texts = Field(default_factory=dict)
    driver: Text = ""
    driver_cuda: Text = ""
    gpus: tuple[_Gpu, ...] = Field((), max_length=1000)
    gpu_problem: str = Field("", max_length=4000)
    onnxruntime: _OnnxRuntime | None = None
    torch: _Torch | None = None
    labels: Texts = Field(default_factory=dict)

    def to_facts(self) -> NodeFacts:
        plain = dict(self)
        plain |= {
            "packages": MappingProxyType(self.packages),
            "labels": MappingProxyType(self.labels),
            "gpus": tuple(gpu.to_facts() for gpu in self.gpus),
            "onnxruntime": self.onnxruntime.to_facts() if self.onnxruntime else None,
            "torch": self.torch.to_facts() if self.torch else None,
        }
        return NodeFacts(**plain)


def read_facts(file: Path) -> NodeFacts:
    """Read a file that `bascule facts -o FILE` wrote, here or on another node.

    Raises:
        InvalidArgumentError: It cannot be read, or holds no facts; the field is named.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FACTS_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(
            f"facts file {file} cannot be read: {error.strerror}: write one with "
            "`bascule facts -o FILE` on the node"
        ) from error
    return parse_facts(raw, str(file))


def parse_facts(raw: bytes, source: str) -> NodeFacts:
    """Check and return facts.

    Args:
        raw: JSON, as `runtimes.facts_json` writes it.
        source: What to call it in messages.

    Raises:
        InvalidArgumentError: It is too long, no JSON, or a field is missing, unknown or wrong.
    """
    if len(raw) > MAX_FACTS_BYTES:
        raise InvalidArgumentError(
            f"{source}: facts of a node have at most {MAX_FACTS_BYTES} bytes, and this has more"
        )
    try:
        return _Node.model_validate_json(raw).to_facts()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "facts"
        got = "" if first["type"] == "missing" else f", got {str(first['input'])[:80]!r}"
        raise InvalidArgumentError(
            f"{source}: {field}: {first['msg']}{got}: write the file anew with "
            "`bascule facts -o FILE` on the node"
        ) from error
