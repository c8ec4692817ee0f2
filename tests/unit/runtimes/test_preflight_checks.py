"""Preflight over records: each disagreement has its own code, and its neighbour has none."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import runtimes.preflight
from runtimes.findings import Severity
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.check import Waiver, apply_policy, check
from runtimes.preflight.subject import (
    Metadata,
    PackedEnvironment,
    Subject,
)
from runtimes.profile import SHIPPED
from serving.rollout import environment_check, profile_choice
from tests.fakes.node_facts import A100, CPU_NODE
from tests.fakes.preflight_cases import CASES, CUDA_TORCH, INT8, TRUSTED_CODE, Case
from tests.fakes.subjects import (
    GIB,
    GPU_NODE,
    MODEL,
    ON_CPU,
    ON_GPU,
    claiming,
    on,
    running,
)

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
    "not run": ("BP-R08", running(run_problem="index out of range")),
    "a timeout below one run": ("BP-C04", claiming(ON_CPU, default_timeout_s=1e-6)),
}


@pytest.mark.parametrize("case", WARNINGS.values(), ids=WARNINGS.keys())
def test_what_only_deserves_a_warning(case: tuple[str, Subject]) -> None:
    """It is loaded all the same; under strict, security and hardware refuse it."""
    code, subject = case
    findings = check(subject)
    strict = apply_policy(findings, strict=True, now_utc=NOW)

    assert {one.code for one in findings if one.severity is Severity.WARNING} == {code}
    assert all(one.severity is not Severity.ERROR for one in findings)
    assert any(one.severity is Severity.ERROR for one in strict) == (code[3] in "SH")


@pytest.mark.parametrize("subject", [ON_CPU, ON_GPU, TRUSTED_CODE], ids=["cpu", "gpu", "code"])
def test_what_is_well_has_no_finding(subject: Subject) -> None:
    """Nothing is said of a version that works; and asked twice, the answer is the same."""
    assert check(subject) == () == check(subject)


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


def test_a_waiver_holds_until_it_is_over() -> None:
    """A waived error is information with its reason; after its day it is an error again."""
    findings = check(claiming(ON_CPU, preferred_batch_rows=(16,)))
    waiver = Waiver(code="BP-C04", reason="trial", until_utc=NOW + timedelta(days=1), by="ana")

    waived = apply_policy(findings, strict=True, waivers=[waiver], now_utc=NOW)
    over = apply_policy(findings, strict=True, waivers=[waiver], now_utc=NOW + timedelta(days=2))

    assert [one.severity for one in waived] == [Severity.INFO]
    assert "trial" in waived[0].message
    assert [one.severity for one in over] == [Severity.ERROR]


def test_what_endangers_others_cannot_be_waived() -> None:
    """A waiver for rows that interact changes nothing."""
    findings = check(running(row_interaction="they do"))
    waiver = Waiver(code="BP-C03", reason="?", until_utc=NOW + timedelta(days=1), by="ana")

    assert apply_policy(findings, strict=False, waivers=[waiver], now_utc=NOW) == findings


def test_the_first_profile_that_fits_counts() -> None:
    """A version that lists a GPU first and the CPU second is well on a CPU node."""
    assert check(on(ON_CPU, CPU_NODE, "cuda", "cpu")) == ()
    assert SHIPPED["cpu"].device == "cpu"
