"""`contract.yaml` of a bundle against its model, its reference data and the calendar."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.findings import Severity
from runtimes.preflight.check import check
from runtimes.preflight.subject import Contract
from serving.registry.bundles.completion import RunOrder, complete_bundle
from serving.registry.bundles.manifest import Lineage
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.preflight.preflight_target import read_target
from serving.registry.preflight.subject import Surroundings
from tests.fakes import models
from tests.fakes.bundles import PACKED_UTC
from tests.fakes.model_files import BATCH, write
from tests.fakes.node_facts import CPU_NODE

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TRAINED_UNTIL = datetime(2024, 1, 1, tzinfo=UTC)
REFERENCE = b"{}"
WHOLE = f"""
contract: 1
model: m
reference: {{uri: ref.parquet, sha256: {hashlib.sha256(REFERENCE).hexdigest()}, rows: 9,
  collected_until: 2026-04-01}}
trained_until: 2026-04-01
max_age: {{warn: 90d, block: 365d}}
inputs:
  x: {{dtype: FP32, shape: [-1, 16], min: 0, max: 120, on_violation: reject}}
outputs: {{y: {{dtype: FP32, finite: true}}}}
window_policy: {{window: 10m, min_rows: 500}}
"""


def packed(folder: Path, contract: str) -> Path:
    """A bundle with a contract and reference data."""
    order = PackOrder(
        model_file=write(folder, models.tiny()),
        name="m",
        version=1,
        created_utc=PACKED_UTC,
        config=BATCH,
        licence="mit",
        contract_file=write(folder, contract.encode(), "contract.yaml"),
        reference_file=write(folder, REFERENCE, "reference.json"),
        lineage=Lineage(trained_until=TRAINED_UNTIL),
    )
    run = RunOrder(golden_count=0)
    return pack_bundle(order, folder / "bundle", lambda d: complete_bundle(d, run)[0]).folder


def found_in(place: Path, now_utc: datetime = NOW) -> list[tuple[str, Severity]]:
    """Codes and severities of the group of data."""
    around = Surroundings(node=CPU_NODE, now_utc=now_utc)
    findings = check(read_target(place, around).subject)
    return [(one.code, one.severity) for one in findings if one.code.startswith("BP-D")]


def contract_in(place: Path) -> Contract:
    """What preflight compares of a contract."""
    found = read_target(place, Surroundings(node=CPU_NODE, now_utc=NOW)).subject.contract
    assert found is not None
    return found


def test_a_contract_that_fits_has_no_finding(tmp_path: Path) -> None:
    """Its tensors are the model's, its reference is in the bundle, and its data are young."""
    assert found_in(packed(tmp_path, WHOLE)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("x: {", "xx: {", id="another input"),
        pytest.param("y: {", "z: {", id="another output"),
        pytest.param("{dtype: FP32, shape", "{dtype: INT8, shape", id="another datatype"),
        pytest.param("[-1, 16]", "[-1, 17]", id="another shape"),
        pytest.param("sha256: ", "sha256: " + "0" * 64 + " #", id="other reference data"),
        pytest.param("contract: 1", "contract: 2", id="another format"),
        pytest.param("contract: 1", "[", id="no YAML"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, before: str, after: str) -> None:
    """One thing is changed: it is BP-D01, and nothing else of the group."""
    text = WHOLE.replace(before, after, 1)

    assert found_in(packed(tmp_path, text)) == [("BP-D01", Severity.ERROR)]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        pytest.param(80, None, id="young"),
        pytest.param(100, Severity.WARNING, id="warned"),
        pytest.param(400, Severity.ERROR, id="blocked"),
    ],
)
def test_data_grow_old(tmp_path: Path, days: int, expected: Severity | None) -> None:
    """Counted from the end of the reference data, and of the training data, to now."""
    later = datetime(2026, 4, 2, tzinfo=UTC) + timedelta(days=days)

    found = found_in(packed(tmp_path, WHOLE), later)

    assert found == ([("BP-D02", expected)] * 2 if expected else [])


@pytest.mark.parametrize("place", ["m/contract.yaml", "m/1/contract.yaml"])
def test_a_model_of_a_repository_has_one_beside_it(tmp_path: Path, place: str) -> None:
    """For all its versions, or for one of them."""
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(models.tiny())
    (tmp_path / place).write_text("contract: 1\ntrained_until: 2020-01-01\nmax_age: {block: 30d}\n")
    assert found_in(tmp_path / "m") == [("BP-D02", Severity.ERROR)]

    (tmp_path / place).write_text("contract: 2\n")
    assert found_in(tmp_path / "m") == [("BP-D01", Severity.ERROR)]


def test_rules_that_the_model_cannot_answer_are_an_error(tmp_path: Path) -> None:
    """A length in characters, of numbers."""
    text = WHOLE.replace("min: 0, max: 120", "max_len: 3")

    assert found_in(packed(tmp_path, text)) == [("BP-D01", Severity.ERROR)]


def test_training_data_of_the_manifest_count_where_the_contract_is_silent(tmp_path: Path) -> None:
    """The lineage's newest observation stands for `trained_until`; a lone file has no lineage."""
    text = "contract: 1\nmax_age: {block: 1d}"
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(models.tiny())
    (version / "contract.yaml").write_text(text)

    (age,) = contract_in(packed(tmp_path, text)).ages

    assert (age.what, age.age_s) == ("training data", (NOW - TRAINED_UNTIL).total_seconds())
    assert contract_in(tmp_path / "m").ages == ()


@pytest.fixture(scope="module")
def version_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's only version, in a repository."""
    version = tmp_path_factory.mktemp("repository") / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(models.tiny())
    return version


@given(st.binary(max_size=200))
def test_any_bytes_are_a_contract_or_a_problem(version_folder: Path, raw: bytes) -> None:
    """No file content raises, whatever stands in it; asked twice, the answer is the same."""
    (version_folder / "contract.yaml").write_bytes(raw)

    assert contract_in(version_folder.parent) == contract_in(version_folder.parent)
