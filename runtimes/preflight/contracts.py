"""Pure: does a version's data contract suit its model, and is its data not too old?"""

from collections.abc import Iterator, Sequence
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.findings import Finding, Severity
from runtimes.misspelling import did_you_mean
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Age, Contract, ContractTensor, Subject

DAY_S: Final = 86_400
CONTRACT: Final = "contract"


def check_contract(subject: Subject) -> Iterator[Finding]:
    """Yield what a contract says otherwise than the model, and data that is too old."""
    contract = subject.contract
    if contract is None:
        return
    if contract.problem:
        yield found(
            "BP-D01",
            CONTRACT,
            f"it cannot be read: {contract.problem}",
            "correct the contract and pack the bundle again",
        )
        return
    findings = [
        *_tensors("input", contract.inputs, contract.model_inputs),
        *_tensors("output", contract.outputs, contract.model_outputs),
    ]
    yield from findings
    for problem in () if findings else contract.rule_problems:
        yield _differs(CONTRACT, problem, Evidence(problem, "rules that its tensors can answer"))
    yield from _reference(contract)
    for age in contract.ages:
        yield from _old(contract, age)


def _tensors(
    role: str, listed: Sequence[ContractTensor], there: Sequence[TensorSpec]
) -> Iterator[Finding]:
    """Compare with what the model has; a model whose tensors nobody knows is not judged."""
    known = {spec.name: spec for spec in there}
    for one in listed if known else ():
        spec = known.get(one.name)
        if spec is None:
            hint = did_you_mean(one.name, known, "; ")
            yield _differs(
                one.name,
                f"the contract is about {role} '{one.name}', and the model has none{hint}",
                Evidence(one.name, ", ".join(known)),
            )
        elif one.datatype not in {None, spec.datatype}:
            yield _differs(
                one.name,
                f"the contract says {one.datatype}, and the model's {role} is {spec.datatype}",
                Evidence(str(one.datatype), spec.datatype.value),
            )
        elif one.shape is not None and not _fits(one.shape, spec.shape):
            yield _differs(
                one.name,
                f"the contract says shape {list(one.shape)}, and the model's {role} has "
                f"{list(spec.shape)}",
                Evidence(str(list(one.shape)), str(list(spec.shape))),
            )


def _differs(name: str, message: str, evidence: Evidence) -> Finding:
    return found(
        "BP-D01",
        name,
        message,
        "correct the contract, or bring the one that was written for this model",
        evidence=evidence,
    )


def _fits(asked: tuple[int, ...], has: tuple[int, ...]) -> bool:
    """A free dimension of the model takes any; an empty shape stands for an unknown rank."""
    if not has:
        return True
    return len(asked) == len(has) and all(
        mine in {-1, one} for one, mine in zip(asked, has, strict=True)
    )


def _reference(contract: Contract) -> Iterator[Finding]:
    wanted, there = contract.reference_sha256, contract.packed_reference_sha256
    if wanted and there and wanted != there:
        yield found(
            "BP-D01",
            "reference",
            f"the contract was written for reference data {wanted[:12]}, and the bundle has "
            f"{there[:12]}",
            "pack the bundle with the reference that the contract names, or write it anew",
            evidence=Evidence(there, wanted),
        )


def _old(contract: Contract, age: Age) -> Iterator[Finding]:
    limits = contract.limits
    is_blocked = limits.block_s is not None and age.age_s > limits.block_s
    limit_s = limits.block_s if is_blocked else limits.warn_s
    if limit_s is None or age.age_s <= limit_s:
        return
    days, limit = int(age.age_s // DAY_S), int(limit_s // DAY_S)
    yield found(
        "BP-D02",
        age.what,
        f"its {age.what} end {days} days ago, and the contract allows {limit}",
        "train the model on newer data, or have somebody who knows it waive this for a while "
        "(bascule waive BP-D02)",
        evidence=Evidence(f"{days} days", f"<= {limit} days"),
        severity=Severity.ERROR if is_blocked else Severity.WARNING,
    )
