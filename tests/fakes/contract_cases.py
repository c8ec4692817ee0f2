"""Data contracts that are broken in one way each."""

from dataclasses import replace

from runtimes.datatypes import Datatype
from runtimes.preflight.subject import Age, AgeLimits, Contract, ContractTensor, Subject
from tests.fakes.broken import Case
from tests.fakes.subjects import MODEL, ON_CPU

DAY_S = 86_400


def contracted(**changes: object) -> Subject:
    """Give the model a data contract."""
    empty = Contract(model_inputs=MODEL.inputs, model_outputs=MODEL.outputs)
    return replace(ON_CPU, contract=replace(empty, **changes))  # type: ignore[arg-type]  # any field of the record


def aged(days: int) -> Age:
    """Reference data of so many days."""
    return Age(what="reference data", age_s=days * DAY_S)


CONTRACT_CASES = {
    "a contract about another input": Case(
        "BP-D01", contracted(inputs=(ContractTensor(name="inptu"),)), "did you mean input?"
    ),
    "a contract of another datatype": Case(
        "BP-D01",
        contracted(inputs=(ContractTensor(name="input", datatype=Datatype.INT8),)),
        "correct the contract",
        contracted(inputs=(ContractTensor(name="input", datatype=Datatype.FP32),)),
    ),
    "a contract of another shape": Case(
        "BP-D01",
        contracted(inputs=(ContractTensor(name="input", shape=(-1, 17)),)),
        "correct the contract",
        contracted(inputs=(ContractTensor(name="input", shape=(8, 16)),)),
    ),
    "a contract for other reference data": Case(
        "BP-D01",
        contracted(reference_sha256="ab" * 32, packed_reference_sha256="cd" * 32),
        "the reference that the contract names",
        contracted(reference_sha256="ab" * 32, packed_reference_sha256="ab" * 32),
    ),
    "a contract that is none": Case(
        "BP-D01", contracted(problem="it is no YAML"), "correct the contract"
    ),
    "reference data that are too old": Case(
        "BP-D02",
        contracted(ages=(aged(402),), limits=AgeLimits(warn_s=90 * DAY_S, block_s=365 * DAY_S)),
        "newer data",
        contracted(ages=(aged(364),), limits=AgeLimits(warn_s=90 * DAY_S, block_s=365 * DAY_S)),
    ),
}
