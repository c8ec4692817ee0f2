"""YAML that anybody wrote: what cannot be read is one kind of error, wherever it is read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli.models_file import parse_models
from serving.events.receivers_file import parse_receivers
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.interchange.mlflow_model import parse_mlmodel
from serving.registry.preflight.profiles import parse_profiles
from serving.registry.repository import Repository
from serving.registry.trust.trust_file import parse_policy
from serving.registry.yaml_text import read_yaml
from tests.fakes.models import tiny

BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d]\n" % (level, level, level - 1, level - 1) for level in range(1, 40)
)
UNREADABLE = {
    "a truth that is none": b"!!bool x",
    "a number without digits": b'!!int ""',
    "a time that is none": b"!!timestamp x",
    "a month that is none": b"a: 2001-99-99",
    "aliases of aliases": BOMB,
    "a list in itself": b"&a [*a]",
    "a mapping in itself": b"&a {a: *a}",
    "levels without end": b"[" * 3000,
    "a tag of Python": b'!!python/object/apply:os.system ["id"]',
    "no text": b"\xff\xfe\xff",
    "a key that comes twice": b"unsigned: refuse\nunsigned: allow",
    "a key that comes twice below": b"a:\n- {b: {max: 1, max: 2}}",
}
READERS: dict[str, Callable[[bytes], object]] = {
    "models": lambda raw: parse_models(raw, "f"),
    "receivers": lambda raw: parse_receivers(raw, Path("f")),
    "contract": parse_contract,
    "profiles": lambda raw: parse_profiles(raw, "f"),
    "trust": lambda raw: parse_policy(raw, "f"),
    "MLmodel": lambda raw: parse_mlmodel(raw, "f"),
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_cannot_be_read_is_the_writers_mistake(
    read: Callable[[bytes], object], raw: bytes
) -> None:
    """Each file that is written in YAML is refused for it, with a short text, and at once."""
    with pytest.raises(InvalidArgumentError) as refused:
        read(raw)
    assert len(refused.value.message) < 400


def test_one_model_with_such_a_contract_leaves_the_others(tmp_path: Path) -> None:
    """A repository is read on: what is wrong is the reason of that version alone."""
    for name in ("bad", "good"):
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(tiny())
    (tmp_path / "bad" / "contract.yaml").write_bytes(b"!!bool x")
    found = Repository(tmp_path).scan().models
    assert [spec.version for spec in found["good"].versions] == [1]
    assert "a tag does not suit its value" in found["bad"].failed[0].reason


def test_aliases_in_measure_are_read() -> None:
    """Who repeats a block by its name may do so."""
    assert read_yaml(b"a: &a {b: 1}\nc: *a\nd: [*a, *a]") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": [{"b": 1}, {"b": 1}],
    }
    assert read_yaml(b"# nothing") is None


def test_a_key_that_comes_twice_is_named() -> None:
    """The last one would be in force in silence: which of the two is meant, only people know."""
    with pytest.raises(InvalidArgumentError, match="'max' comes twice, again in line 3: keep one"):
        read_yaml(b"age:\n  max: 120\n  max: 130\n")
    assert read_yaml(b"1: a\n'1': b") == {1: "a", "1": "b"}
