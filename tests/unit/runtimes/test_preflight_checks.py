"""Preflight over records: each disagreement has its own code, and its neighbour has none."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import runtimes.preflight
from runtimes.findings import Finding, Severity
from runtimes.onnx_placement import AssignedNode, Permission, placement_of
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.check import apply_policy, check
from runtimes.preflight.subject import (
    AgeLimits,
    Metadata,
    PackedEnvironment,
    Subject,
)
from runtimes.preflight.trial import Growth, Latency
from runtimes.preflight.waivers import Waiver, for_version, in_force
from runtimes.profile import SHIPPED
from serving.rollout import environment_check, profile_choice
from tests.fakes.broken import Case
from tests.fakes.contract_cases import DAY_S, aged, contracted
from tests.fakes.node_facts import A100, CPU_NODE
from tests.fakes.preflight_cases import CASES, CUDA_TORCH, INT8, TRUSTED_CODE
from tests.fakes.subjects import (
    GIB,
    GPU_NODE,
    MODEL,
    ON_CPU,
    ON_GPU,
    SCRIPT,
    claiming,
    on,
    running,
)

PARTLY = placement_of(
    [
        AssignedNode(provider="CUDAExecutionProvider", name="", operator="Conv"),
        AssignedNode(provider="CPUExecutionProvider", name="", operator="NonMaxSuppression"),
    ],
    "CUDAExecutionProvider",
    Permission(nodes=True),
    "ONNX Runtime 1.31",
).findings
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_disagreement_has_its_own_code(case: Case) -> None:
    """The code of what is broken is the only error, with its remedy; the neighbour has none."""
    errors = [one for one in check(case.broken) if one.severity is Severity.ERROR]

    assert {one.code for one in errors} == {case.code}
    assert any(case.remedy in f"{one.message}: {one.fix}" for one in errors)
    assert [one for one in check(case.neighbour) if one.severity is Severity.ERROR] == []


WARNINGS = {
    "INT8 without VNNI": (
        "BP-H04",
        on(replace(ON_CPU, model=INT8), replace(CPU_NODE, cpu_flags=frozenset({"avx2"}))),
    ),
    "nearly full GPU": ("BP-H02", replace(ON_GPU, model=replace(MODEL, weight_bytes=36 * GIB))),
    "other processes on the GPU": (
        "BP-H07",
        on(ON_GPU, replace(GPU_NODE, gpus=(replace(A100, other_process_bytes=GIB),))),
    ),
    "a few threads too many": ("BP-H05", claiming(ON_CPU, threads=4)),
    "writable by all": ("BP-S05", replace(ON_CPU, folder=replace(ON_CPU.folder, writable=(".",)))),
    "no licence": ("BP-S06", replace(ON_CPU, metadata=Metadata(has_card=True, has_golden=True))),
    "a licence that is not allowed": (
        "BP-S06",
        replace(ON_CPU, metadata=Metadata(licence="agpl-3.0", allowed_licences=("mit",))),
    ),
    "another architecture": (
        "BP-E10",
        replace(ON_CPU, packed=PackedEnvironment(machine="aarch64")),
    ),
    "two CUDAs": (
        "BP-E06",
        on(ON_GPU, replace(GPU_NODE, torch=replace(CUDA_TORCH, cuda_version="12.6"))),
    ),
    "not repeatable": ("BP-R05", running(distinct_runs=3)),
    "NaN on made-up inputs": ("BP-R02", running(not_finite=("y",))),
    "over the latency budget": (
        "BP-R04",
        claiming(
            running(latencies=(Latency(rows=8, run_count=30, p99_s=0.038),)), latency_budget_s=0.02
        ),
    ),
    "memory that grows": (
        "BP-R06",
        running(growth=Growth(run_count=50, shape_count=50, grown_bytes=210 << 20)),
    ),
    "half of it on the CPU": ("BP-O06", running(placement=PARTLY)),
    "data that grow old": (
        "BP-D02",
        contracted(ages=(aged(100),), limits=AgeLimits(warn_s=90 * DAY_S, block_s=365 * DAY_S)),
    ),
    "not run": ("BP-R08", running(run_problem="index out of range")),
    "a timeout below one run": ("BP-C04", claiming(ON_CPU, default_timeout_s=1e-6)),
}


@pytest.mark.parametrize("case", WARNINGS.values(), ids=WARNINGS.keys())
def test_what_only_deserves_a_warning(case: tuple[str, Subject]) -> None:
    """It is loaded all the same; under strict, security and hardware refuse it."""
    code, subject = case
    findings = check(subject)
    strict = apply_policy(findings, strict=True)

    assert {one.code for one in findings if one.severity is Severity.WARNING} == {code}
    assert all(one.severity is not Severity.ERROR for one in findings)
    assert any(one.severity is Severity.ERROR for one in strict) == (code[3] in "SH")


@pytest.mark.parametrize("subject", [ON_CPU, ON_GPU, TRUSTED_CODE], ids=["cpu", "gpu", "code"])
def test_what_is_well_has_no_finding(subject: Subject) -> None:
    """Nothing is said of a version that works; and asked twice, the answer is the same."""
    assert check(subject) == () == check(subject)


def test_torchscript_is_told_to_have_no_future() -> None:
    """It is information: every TorchScript version has it, and serves well."""
    subject = on(replace(ON_CPU, format="torchscript", model=SCRIPT), CPU_NODE)

    (found,) = [one for one in check(subject) if one.code == "BP-T03"]
    assert found.severity is Severity.INFO


def test_the_catalogue_lists_exactly_what_can_be_found() -> None:
    """Every code in the checks is in the table, and every code of the table is in a check."""
    folder = Path(runtimes.preflight.__path__[0])
    used = {
        node.value
        for file in folder.glob("*.py")
        if file.name != "catalogue.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith("BP-")
    }
    placement = {
        profile_choice.NO_FIT,
        profile_choice.SECOND_CHOICE,
        profile_choice.UNKNOWN_PROFILE,
        environment_check.CODE,
    }

    assert used | placement == set(CATALOGUE)


def allowing(code: str, model: str = "m", version: int | None = None, days: int = 1) -> Waiver:
    """A waiver of Ana's, from now on."""
    until = NOW + timedelta(days=days)
    return Waiver(
        code=code, model=model, version=version, reason="trial", by="ana", until_utc=until
    )


def test_a_waiver_holds_until_it_is_over() -> None:
    """A waived error is information with author and reason; after its day it is an error again."""
    findings = check(claiming(ON_CPU, preferred_batch_rows=(16,)))

    def weighed(later: timedelta) -> tuple[Finding, ...]:
        waivers = for_version(in_force([allowing("BP-C04")], NOW + later), "m", 1)
        return apply_policy(findings, strict=True, waivers=waivers)

    (waived,), (over,) = weighed(timedelta(0)), weighed(timedelta(days=1))
    assert (waived.severity, over.severity) == (Severity.INFO, Severity.ERROR)
    assert waived.waiver.endswith("by ana: trial")
    assert waived.waiver in str(waived)
    assert (waived.message, over.waiver) == (findings[0].message, "")


@pytest.mark.parametrize(
    ("waiver", "is_meant"),
    [
        pytest.param(allowing("BP-C04"), True, id="all versions"),
        pytest.param(allowing("BP-C04", version=1), True, id="this one"),
        pytest.param(allowing("BP-C04", version=2), False, id="another version"),
        pytest.param(allowing("BP-C04", model="n"), False, id="another model"),
        pytest.param(allowing("BP-C03"), False, id="rows that interact"),
        pytest.param(allowing("BP-A00"), False, id="no code"),
    ],
)
def test_a_waiver_is_for_its_scope_and_for_what_can_be_waived(
    waiver: Waiver,
    is_meant: bool,  # noqa: FBT001  a case
) -> None:
    """What endangers others is never allowed, and another model's waiver says nothing of this."""
    assert (waiver.code in for_version([waiver], "m", 1)) is is_meant


def test_of_two_waivers_the_longer_counts() -> None:
    """Granted again for longer, or for all versions beside one: the later end is the end."""
    short, long = allowing("BP-C04", version=1), allowing("BP-C04", days=9)

    assert for_version([long, short], "m", 1) == for_version([short, long], "m", 1)
    assert for_version([long, short], "m", 1)["BP-C04"] is long


def test_security_and_damage_have_no_waiver() -> None:
    """No code of the groups of files and security can be waived, nor one that names no hardware."""
    waivable = {code for code, entry in CATALOGUE.items() if entry.is_waivable}

    assert not [code for code in waivable if code[3] in "FS"]
    assert not waivable & {"BP-C03", "BP-C05", "BP-C06", "BP-H08", "BP-H10", "BP-R07"}
    assert {"BP-C04", "BP-R01", "BP-H05"} <= waivable


def test_a_trial_is_judged_where_all_errors_are_waived() -> None:
    """What running showed is told beside an error that somebody allows."""
    subject = claiming(running(distinct_runs=3), preferred_batch_rows=(16,))

    assert "BP-R05" not in {one.code for one in check(subject)}
    assert "BP-R05" in {one.code for one in check(subject, waived={"BP-C04"})}


def test_the_first_profile_that_fits_counts() -> None:
    """A version that lists a GPU first and the CPU second is well on a CPU node."""
    assert check(on(ON_CPU, CPU_NODE, "cuda", "cpu")) == ()
    assert SHIPPED["cpu"].device == "cpu"
