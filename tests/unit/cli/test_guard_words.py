"""How guardrails are named, set and switched off: on the command line, in files and in calls."""

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from runtimes.errors import InvalidArgumentError
from serving.cli.main import main
from serving.cli.models_file import read_models_file
from serving.cli.rollout_options import PlanWords, plan_body
from serving.edge.rollout_body import GuardrailsBody
from serving.registry.rollouts.plan import OFF, Guardrails, Strategy


def guardrails(*guards: str) -> object:
    """What a call says of these words."""
    words = PlanWords(
        strategy=Strategy.BLUE_GREEN,
        steps="",
        sticky_by="",
        shadow="",
        bake="5m",
        guards=guards,
        keep_old=False,
    )
    return plan_body(2, words)["guardrails"]


@pytest.mark.parametrize("name", OFF)
def test_off_switches_a_guardrail_off(name: str) -> None:
    """By the word, in a call, and as YAML reads the word: never the strictest limit instead."""
    assert guardrails(f"{name}=off") == {name: OFF[name]}
    for given in ("off", "Off", False):
        assert getattr(GuardrailsBody.model_validate({name: given}), name) == OFF[name]


@pytest.mark.parametrize("name", OFF)
def test_on_is_no_limit(name: str) -> None:
    """A guardrail with a limit is switched on by saying which."""
    with pytest.raises(ValidationError, match="a number, or off, is expected"):
        GuardrailsBody.model_validate({name: True})
    with pytest.raises(InvalidArgumentError, match="a number, or off, is expected"):
        guardrails(f"{name}=on")


def test_a_file_switches_it_off(tmp_path: Path) -> None:
    """`off` in `models.yaml` means what it says."""
    file = tmp_path / "models.yaml"
    file.write_text("models: {m: {version: 2, guardrails: {mismatch_share: off}}}\n")

    (found,) = read_models_file(file)

    assert found.body["guardrails"] == {"mismatch_share": -1.0}


def test_a_name_that_is_none_is_told_with_the_nearest() -> None:
    """And with all that there are."""
    with pytest.raises(InvalidArgumentError, match=r"error_rate.*did you mean mismatch_share"):
        guardrails("mismatch=off")


def test_help_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to make a mistake to learn the names."""
    with pytest.raises(SystemExit):
        main(("rollout", "start", "--help"))

    said = capsys.readouterr().out
    assert [field.name for field in fields(Guardrails) if field.name not in said] == []
