"""What `--help` says of every command: examples that can be typed, in lines that fit."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from serving.cli.main import WORDS, build_app, main


def commands(word: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A word's command, and those below it, with the words that name them."""
    group: Any = typer.main.get_command(build_app([word]))
    waiting: list[tuple[tuple[str, ...], Any]] = [((word,), group.commands[word])]
    while waiting:
        path, command = waiting.pop()
        yield path, command
        below = getattr(command, "commands", {})
        waiting += [((*path, name), inner) for name, inner in below.items()]


def examples(path: tuple[str, ...], epilog: str) -> Iterator[list[str]]:
    """The command lines that a help shows, without the program's name."""
    text = re.split(r"Examples?: ", epilog)[-1]
    for shown in re.split(r" · |, then ", text):
        line = re.sub(r"^…", " ".join(("bascule", *path)), shown)
        before, _, typed = line.partition("bascule ")
        assert typed, (path, before)
        yield shlex.split(re.split(r" [|>] ", typed)[0])


@pytest.mark.parametrize("word", WORDS)
def test_every_example_can_be_typed(word: str) -> None:
    """Each command shows one, and no flag in it is unknown to the command that it calls."""
    for path, command in commands(word):
        shown = list(examples(path, command.epilog or ""))
        assert shown, path
        for first, *typed in shown:
            known = dict(commands(first))
            named = max((one for one in known if (first, *typed)[: len(one)] == one), key=len)
            flags = {
                flag
                for one in (named, (*named, "show"))  # `drift MODEL` is `drift show MODEL`
                if one in known
                for parameter in known[one].params
                for flag in (*parameter.opts, *parameter.secondary_opts)
            }
            assert [text for text in typed if text[:1] == "-" != text and text not in flags] == []


@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_paragraphs_are_folded_where_the_terminal_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    """And nowhere else: a line of ours, cut in two, is no line of theirs."""
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit):
        main(("promote", "--help"))

    text = capsys.readouterr().out.partition("The version must")[2].partition("refused.")[0]
    folded = [line.strip() for line in text.splitlines()[1:-1]]
    assert [line for line in folded if len(line) < int(width) - 20] == []


def test_statuses_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """What every command's exit status means stands in one place."""
    with pytest.raises(SystemExit):
        main(("--help",))

    assert "Exit status: 0 done; 1 it failed" in capsys.readouterr().out
