"""`contract.yaml` as it is read: every rule has an id and an action, and mistakes are named."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.contract_fit import misfits
from serving.registry.contracts.data_contract import Action, Check, DataContract
from serving.registry.repository import Repository
from tests.fakes.contracts import CASES

AGE = TensorSpec(name="age", datatype=Datatype.FP32, shape=(-1, 1))
STATE = TensorSpec(name="state", datatype=Datatype.BYTES, shape=(-1, 1))
PROB = TensorSpec(name="prob", datatype=Datatype.FP32, shape=(-1, 3))


def parsed(text: str) -> DataContract:
    """A contract."""
    return parse_contract(f"contract: 1\n{text}".encode())


@pytest.mark.parametrize("name", CASES)
def test_every_rule_has_its_id_and_its_action(name: str) -> None:
    """Of inputs, features, outputs and times of events."""
    case = CASES[name]
    found = parse_contract(case.contract.replace("ACTION", "flag").encode())
    watched = (*found.inputs, *found.outputs)
    rules = [rule for one in watched for rule in one.rules]
    rules += found.event_time.rules if found.event_time else ()

    assert case.rule in {rule.id for rule in rules}
    assert {rule.action for rule in rules} == {Action.FLAG}


def test_each_check_may_have_its_own_action() -> None:
    """What is not named counts."""
    (age,) = parsed("inputs: {age: {min: 0, max: 9, on_violation: {max: reject}}}").inputs

    assert {rule.check: rule.action for rule in age.rules} == {
        Check.MIN: Action.COUNT,
        Check.MAX: Action.REJECT,
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 7_776_000.0), ("2592000s", 2_592_000.0), ("0000010m", 600.0), ("7", 7.0)],
)
def test_spans_of_time_are_read_whole(text: str, seconds: float) -> None:
    """However many digits one has."""
    assert parsed(f"max_age: {{warn: {text}}}").age_limits.warn_s == seconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inputs: {age: {mx: 3}}", "inputs.age.mx: Extra inputs are not permitted"),
        ("inputs: {age: {min: 3, max: 2}}", "max is 2, below the minimum 3"),
        ("inputs: {age: {min: .nan}}", "inputs.age.min"),
        ("inputs: {s: {dtype: BYTES, allowed: [NO]}}", "YAML reads False as no text: put it in q"),
        ("inputs: {age: {on_violation: quarantine}}", "rows cannot be put aside"),
        ("inputs: {age: {max: 1, on_violation: {min: flag}}}", "names 'min', and there is no such"),
        ("event_time: {max_lag: 10m}", "name either a parameter or an input"),
        ("inputs: {a: {}}\nfeatures: {a: {input: a, column: 0}}", "a tensor has that name"),
        ("inputs: {a: {}}\noutputs: {a: {}}", "an input has that name"),
        ("max_age: {warn: 90 days}", "max_age.warn"),
        ("max_age: {warn: 123456789012s}", "max_age.warn"),
        ("status: live", "status"),
    ],
)
def test_a_mistake_is_named(text: str, problem: str) -> None:
    """With the place, and what to do."""
    with pytest.raises(InvalidArgumentError) as refused:
        parsed(text)

    assert problem in refused.value.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inputs: {age: {max_len: 3}}", "age.max_len: 'age' is FP32, and this is asked of BYTES"),
        ("inputs: {state: {max: 3}}", "state.max: 'state' is BYTES, and this is asked of numbers"),
        ("inputs: {age: {allowed: [x]}}", "age.allowed: 'x' is no FP32"),
        ("inputs: {age: {null_tokens: [x]}}", "age: null token 'x' is no FP32"),
        (
            "features: {f: {input: age, column: 1}}",
            "f: column 1 of 'age', whose rows have",
        ),
        ("features: {f: {input: zz, column: 1}}", "f: the model has no input 'zz'"),
        ("outputs: {prob: {sum_to: {axis: 0}}}", "prob.sum_to: axis 0 of 'prob': one of 1 to 1"),
        ("event_time: {input: state}", "event_time: 'state' is BYTES, and a number is expected"),
        ("event_time: {input: zz}", "event_time: the model has no input 'zz'"),
    ],
)
def test_rules_that_cannot_be_asked_are_named(text: str, problem: str) -> None:
    """Of the tensors that the model has."""
    (found,) = misfits(parsed(text), [AGE, STATE], [PROB], is_batched=True)

    assert found.startswith(problem)


@pytest.mark.parametrize("name", CASES)
def test_a_contract_travels_to_workers_as_json(name: str) -> None:
    """It comes out as it went in."""
    found = parse_contract(CASES[name].contract.replace("ACTION", "flag").encode())

    assert msgspec.json.decode(msgspec.json.encode(found), type=DataContract) == found


def test_a_repository_has_contracts_beside_its_models(tmp_path: Path) -> None:
    """The version's own comes first; another contract is another form of the version."""
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"")
    repository = Repository(tmp_path)
    (plain,) = repository.scan_model("m").versions
    (tmp_path / "m" / "contract.yaml").write_text("contract: 1\nstatus: draft\n")
    (shared,) = repository.scan_model("m").versions
    (version / "contract.yaml").write_text("contract: 1\nstatus: active\n")
    (own,) = repository.scan_model("m").versions

    assert plain.contract is None
    assert shared.contract == DataContract(is_draft=True)
    assert own.contract == DataContract()
    assert len({plain.digest, shared.digest, own.digest}) == 3


def test_a_repository_says_what_is_wrong_with_a_contract(tmp_path: Path) -> None:
    """The version cannot be loaded, and the reason begins in the repository."""
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"")
    (version / "contract.yaml").write_text("contract: 1\ninputs: {x: {mx: 1}}\n")

    (failed,) = Repository(tmp_path).scan_model("m").failed

    assert failed.reason.startswith("BP-D01 contract: m/1/contract.yaml: inputs.x.mx: Extra inputs")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_contract_or_a_mistake(raw: bytes) -> None:
    """Nothing else is raised, whatever stands in the file."""
    try:
        found = parse_contract(raw)
    except InvalidArgumentError:
        return
    assert parse_contract(raw) == found
