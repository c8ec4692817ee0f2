"""`events.yaml`: what it may say, and how what it may not say is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.events.receivers import Receivers
from serving.events.receivers_file import WatchedFile, parse_receivers, read_receivers

FILE = Path("/etc/bascule/events.yaml")
ONE = "{name: ops, url: 'https://ops.example.com/hook', secret_env: OPS}"


def test_a_receiver_is_told_what_it_asks_for() -> None:
    """Types and subjects are patterns; a secret's file is beside the file that names it."""
    text = """
    source: /bascule/prod
    receivers:
      - name: ops
        url: https://ops.example.com/hook
        secret_file: ops.secret
        types: ["dev.bascule.rollout.*"]
        subjects: ["resnet/*", "bert/3"]
        allow_networks: [169.254.1.0/24]
    """
    found = parse_receivers(text.encode(), FILE)
    ops = found.receivers[0]

    assert found.source == "/bascule/prod"
    assert ops.secret_file == FILE.parent / "ops.secret"
    assert ops.wants("dev.bascule.rollout.canary.v1", "resnet/7")
    assert not ops.wants("dev.bascule.approval.granted.v1", "resnet/7")
    assert not ops.wants("dev.bascule.rollout.canary.v1", "bert/2")


def test_a_receiver_asks_for_what_matters() -> None:
    """By a severity at least; types may be called as `bascule events types` does."""
    more = "types: ['rollout.*', env.changed], min_severity: warning"
    text = f"receivers: [{ONE.replace('}', f', {more}}}')}]"
    ops = parse_receivers(text.encode(), FILE).receivers[0]

    assert ops.wants("dev.bascule.rollout.held.v1", "m/1")
    assert ops.wants("dev.bascule.rollout.rolled_back.v1", "m/1")
    assert ops.wants("dev.bascule.env.changed.v1", "node:a")
    assert not ops.wants("dev.bascule.rollout.canary.v1", "m/1"), "it is but information"
    assert not ops.wants("dev.bascule.trust.changed.v1", "registry"), "of another type"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("receivers: [{name: a, url: 'https://a'}]", "secret_file or secret_env"),
        (f"receivers: [{ONE}, {ONE}]", "two receivers are called 'ops'"),
        (f"receivers: [{ONE.replace('https', 'file')}]", "a URL is http"),
        (f"receivers: [{ONE.replace('ops.ex', 'me:pw@ops.ex')}]", "no user and no password"),
        (f"receivers: [{ONE.replace('OPS', 'BASCULE_OPS')}]", "choose another name"),
        (f"receivers: [{ONE.replace('url', 'uri')}]", "url: Field required"),
        (f"receivers: [{ONE.replace('}', ', allow_networks: [x]}')}]", "allow_networks"),
        (
            f"receivers: [{ONE.replace('secret_env: OPS', 'secret_file: ~nosuchuser/x')}]",
            "no such user here",
        ),
        (f"receivers: [{ONE.replace('}', ', ca_file: ~nosuchuser/x}')}]", "no such user here"),
        ("receivers: [", "cannot be read as YAML"),
        ("receiver: []", "receiver: Extra inputs"),
        (f"receivers: [{ONE.replace('}', ', min_severity: loud}')}]", "'info', 'warning' or"),
        ("[]", "the file"),
        ("source: 'two words'", "source"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, why: str) -> None:
    """The message names the file, the field, and what to do."""
    with pytest.raises(InvalidArgumentError, match=why) as refused:
        parse_receivers(text.encode(), FILE)

    assert str(FILE) in refused.value.message
    assert "pw" not in refused.value.message


@given(st.binary(max_size=200))
def test_no_bytes_raise_outside_the_tree(raw: bytes) -> None:
    """Whatever the file holds, it is read or refused."""
    try:
        found = parse_receivers(raw, FILE)
    except InvalidArgumentError:
        return
    assert isinstance(found, Receivers)


def test_a_file_that_is_not_there_names_nobody(tmp_path: Path) -> None:
    """Nobody has to have one."""
    assert read_receivers(tmp_path / "events.yaml") == Receivers()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """What is said now counts at the next look: a receiver comes, and goes with the file."""
    file = tmp_path / "events.yaml"
    watched = WatchedFile(file)
    before = watched.read()
    file.write_text(f"receivers: [{ONE}]")
    with_one = watched.read()
    again = watched.read()
    file.unlink()

    assert before.receivers == ()
    assert [one.name for one in with_one.receivers] == ["ops"]
    assert again is with_one
    assert watched.read().receivers == ()
