"""Facts of a node go into a file and come back; what is no facts is refused by field."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from runtimes.facts import DomainLimit, GpuFacts, NodeFacts, OnnxRuntimeFacts, TorchFacts
from runtimes.facts_json import facts_json, plain
from runtimes.profile import SHIPPED
from runtimes.profile_fit import misfits
from serving.registry.preflight.facts_file import parse_facts, read_facts
from tests.fakes.node_facts import A100_MIG_NODE, CPU_NODE, H100_NODE, OLD_DRIVER_NODE, T4_NODE

NODES = [CPU_NODE, T4_NODE, OLD_DRIVER_NODE, A100_MIG_NODE, H100_NODE]
RECORDED = sorted((Path(__file__).parents[2] / "data" / "facts").glob("*.json"))
texts = st.text(max_size=20)
sizes = st.integers(0, 1 << 60)
versions = st.integers(0, 1 << 31)
mappings = st.dictionaries(texts, texts, max_size=4).map(MappingProxyType)
gpus = st.builds(
    GpuFacts,
    index=st.integers(0, 1 << 16),
    uuid=texts,
    name=texts,
    memory_bytes=sizes,
    free_memory_bytes=sizes,
    compute_capability=st.tuples(versions, versions),
    is_mig=st.booleans(),
    compute_mode=texts,
    other_process_bytes=sizes,
)
onnxruntimes = st.builds(
    OnnxRuntimeFacts,
    version=texts,
    distributions=st.lists(texts, max_size=3).map(tuple),
    providers=st.lists(texts, max_size=3).map(tuple),
    max_opset=versions,
    max_ir_version=versions,
    cuda_version=texts,
    cuda_problem=texts,
    domains=st.lists(st.builds(DomainLimit, domain=texts, max_opset=versions), max_size=3).map(
        tuple
    ),
)
torches = st.builds(
    TorchFacts,
    version=texts,
    cuda_version=texts,
    cuda_architectures=st.lists(texts, max_size=3).map(tuple),
    max_file_version=versions,
    max_pt2_schema=st.tuples(versions, versions),
    cuda_problem=texts,
)
nodes = st.builds(
    NodeFacts,
    machine=texts,
    system=texts,
    libc=texts,
    cpu_model=texts,
    cpu_flags=st.frozensets(texts, max_size=5),
    cpu_count=st.integers(1, 1 << 16),
    memory_bytes=sizes,
    free_memory_bytes=sizes,
    python=texts,
    packages=mappings,
    driver=texts,
    driver_cuda=texts,
    gpus=st.lists(gpus, max_size=3).map(tuple),
    gpu_problem=texts,
    onnxruntime=st.none() | onnxruntimes,
    torch=st.none() | torches,
    labels=mappings,
)


def changed(place: str, value: object) -> bytes:
    """The facts of a node with a GPU, with one field changed; `place` is a dotted path."""
    document: Any = plain(T4_NODE)
    *outer, last = place.split(".")
    inner = document
    for part in outer:
        inner = inner[int(part) if part.isdecimal() else part]
    inner[last] = value
    return json.dumps(document).encode()


@given(node=nodes)
def test_facts_come_back_as_they_went(node: NodeFacts) -> None:
    """What is written is read back equal, whatever it is, and the text is the same each time."""
    text = facts_json(node)

    assert parse_facts(text.encode(), "node.json") == node
    assert facts_json(parse_facts(text.encode(), "node.json")) == text


@pytest.mark.parametrize("node", NODES)
def test_known_nodes_come_back(node: NodeFacts) -> None:
    """Facts as they were seen on nodes are read back equal."""
    assert parse_facts(facts_json(node).encode(), "node.json") == node


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_recorded_files_are_facts(file: Path) -> None:
    """Files that real nodes wrote are read."""
    assert read_facts(file).cpu_count >= 1


def test_a_real_h100_fits_the_profiles_up_to_its_own() -> None:
    """The recorded node fits every shipped profile but that of the generation after it."""
    (h100,) = (read_facts(file) for file in RECORDED if file.name == "h100.json")

    assert [name for name, profile in SHIPPED.items() if misfits(profile, h100)] == [
        "cuda-blackwell"
    ]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("cpu_count", 0, "cpu_count.*greater than or equal to 1, got '0'"),
        ("cpu_count", "2", "cpu_count.*valid integer"),
        ("gpus.0.memory_bytes", -1, "gpus.0.memory_bytes"),
        ("gpus.0.compute_capability", [8], "gpus.0.compute_capability"),
        ("gpus.0.colour", "green", "gpus.0.colour.*[Ee]xtra"),
        ("onnxruntime.max_opset", None, "onnxruntime.max_opset"),
        ("packages", ["numpy"], "packages"),
    ],
)
def test_a_wrong_field_is_named(place: str, value: object, words: str) -> None:
    """The message names file, field, what is wrong and what to do."""
    with pytest.raises(InvalidArgumentError, match=f"node.json: {words}.*bascule facts -o"):
        parse_facts(changed(place, value), "node.json")


def test_a_missing_field_is_named() -> None:
    """A field that has no default and is not there is named."""
    with pytest.raises(InvalidArgumentError, match="machine: Field required"):
        parse_facts(b"{}", "node.json")


@pytest.mark.parametrize("raw", [b"", b"[]", b"no json", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    """Anything else than an object of facts is refused in one sentence."""
    with pytest.raises(InvalidArgumentError, match=r"node\.json"):
        parse_facts(raw, "node.json")


def test_a_huge_file_is_not_parsed() -> None:
    """Facts have a bound in bytes."""
    with pytest.raises(InvalidArgumentError, match="at most 4194304 bytes"):
        parse_facts(b" " * (5 << 20), "node.json")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """A missing file is named, with the command that writes one."""
    with pytest.raises(InvalidArgumentError, match=r"gone\.json cannot be read.*bascule facts -o"):
        read_facts(tmp_path / "gone.json")
