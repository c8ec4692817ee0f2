"""Settings that are lists: written plainly in a variable, or as JSON."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.settings import described_settings, load_settings

NAMES = ("load_model", "shared_memory_prefixes", "sticky_headers")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["x-a,x-b", " x-a , x-b ", '["x-a","x-b"]', ' ["x-a", "x-b"]'])
def test_a_list_is_written_between_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """Whatever the setting."""
    monkeypatch.setenv(f"BASCULE_{name.upper()}", text)

    assert getattr(load_settings(home="h"), name) == ("x-a", "x-b")


def test_one_item_or_none_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people write it first."""
    monkeypatch.setenv("BASCULE_LOAD_MODEL", "*")
    monkeypatch.setenv("BASCULE_SHARED_MEMORY_PREFIXES", "/a")
    monkeypatch.setenv("BASCULE_STICKY_HEADERS", "")

    found = load_settings(home="h")

    assert found.load_model == ("*",)
    assert found.shared_memory_prefixes == ("/a",)
    assert found.sticky_headers == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sticky_headers", "X-User"),
        ("sticky_headers", '["x-user","X-User"]'),
        ("sticky_headers", "[" * 100_000),
        ("load_model", "[a"),
        ("load_model", "a,,b"),
        ("load_model", "[1]"),
        ("load_model", '["a"] b'),
        ("shared_memory_prefixes", ""),
        ("shared_memory_prefixes", "/a,"),
    ],
)
def test_what_is_no_list_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    """In one line, as every other setting."""
    monkeypatch.setenv(f"BASCULE_{name.upper()}", text)

    with pytest.raises(InvalidArgumentError) as refused:
        load_settings(home="h")

    assert refused.value.message.startswith(f"setting '{name}': ")
    assert f"BASCULE_{name.upper()})" in refused.value.message
    assert "\n" not in refused.value.message


def test_the_table_shows_lists_as_they_are_written() -> None:
    """Their defaults can be copied into a variable."""
    defaults = {variable: default for variable, default, _ in described_settings()}

    assert defaults["BASCULE_SHARED_MEMORY_PREFIXES"] == "/"
    assert defaults["BASCULE_STICKY_HEADERS"] == "bascule-key"
    assert defaults["BASCULE_LOAD_MODEL"] == ""
