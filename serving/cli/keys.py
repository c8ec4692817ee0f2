"""`bascule keys`: make keys, and say whose signatures count in this registry."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from runtimes.errors import InvalidArgumentError
from serving.cli.json_flag import Json
from serving.cli.key_rules import policy, policy_view, remove_rules, restore_rules
from serving.cli.passphrase import Passphrase, read_passphrase
from serving.cli.registry_access import Reason, opened, who
from serving.cli.render import console, print_json
from serving.cli.rules import rules_in_force
from serving.registry.bundles.keys import (
    PRIVATE_SUFFIX,
    PUBLIC_SUFFIX,
    SigningKey,
    read_public_key,
    write_keys,
)
from serving.registry.trust.rule_book import RuleChange
from serving.registry.trust.trust import TrustedKey, TrustPolicy
from serving.registry.trust.trust_file import read_policy, trust_key, trusted_key, untrust_key
from serving.settings import load_settings

KEY_FOLDER: Final = "keys"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    keys = typer.Typer(
        help="Make signing keys, and say whose signatures count here.",
        no_args_is_help=True,
        epilog="Example: bascule keys new alice",
    )
    keys.command("new", epilog="Example: bascule keys new alice")(new)
    keys.command("list", epilog="Example: bascule keys list")(list_keys)
    keys.command("trust", epilog="Example: bascule keys trust alice.pub.pem --model 'fraud-*'")(
        trust
    )
    keys.command("untrust", epilog="Example: bascule keys untrust alice")(untrust)
    keys.command("policy", epilog="Example: bascule keys policy --unsigned refuse")(policy)
    keys.command("restore-rules", epilog="Example: bascule keys restore-rules")(restore_rules)
    keys.command(
        "remove-rules", epilog="Example: bascule keys remove-rules --reason 'a test machine'"
    )(remove_rules)
    app.add_typer(keys, name="keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """One key, as `keys list` shows it."""

    name: str
    key_id: str
    models: tuple[str, ...]
    """For which models its signature counts; empty: it is not trusted."""
    private_file: str
    """Where its private half lies; empty: not in this home."""


def new(
    name: Annotated[str, typer.Argument(help="What people call the key: a person or a pipeline.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Default: BASCULE_HOME/keys."),
    ] = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Make a key: the private half stays with you, the public half is for those who trust you."""
    if not name or not all(one.isalnum() or one in "-_.@" for one in name) or name[0] == ".":
        raise InvalidArgumentError(
            f"'{name}' cannot be a key's name: use letters, digits, '-', '_', '@' and '.'"
        )
    folder = output or load_settings().home / KEY_FOLDER
    files = write_keys(SigningKey.new(), name, folder, read_passphrase(passphrase_file))
    if as_json:
        print_json(files)
        return
    typer.echo(
        f"key {files.key_id}\n  private  {files.private}  (keep it secret)\n"
        f"  public   {files.public}\n"
        f"next: bascule keys trust {files.public} --model '*'"
    )


def list_keys(*, as_json: Json = False) -> None:
    """Show the keys of this home, and those that are trusted here."""
    settings = load_settings()
    lines = _lines(rules_in_force(settings), settings.home / KEY_FOLDER)
    if as_json:
        print_json(lines)
        return
    shown = Table(box=None, pad_edge=False)
    for column in ("name", "key", "counts for", "private half"):
        shown.add_column(column, overflow="fold")
    for line in lines:
        models = ", ".join(line.models) or "not trusted here"
        shown.add_row(Text(line.name), line.key_id, Text(models), Text(line.private_file or "-"))
    console().print(shown if lines else "no keys: make one with bascule keys new NAME")


def trust(
    public: Annotated[Path, typer.Argument(metavar="PUBLIC.pem", help="The key's public half.")],
    *,
    model: Annotated[
        list[str], typer.Option(metavar="GLOB", help="Models it may sign; may be repeated.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it; default: the file's name.")
    ] = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let a key's signature count for some models; a running instance takes note at once."""
    called = name or public.name.removesuffix(PUBLIC_SUFFIX).removesuffix(".pem")
    trusted = TrustedKey(key=read_public_key(public), name=called, models=tuple(model))
    told = f"{called} ({trusted.key.key_id}) for {', '.join(trusted.models)}"
    change = RuleChange(who=who(), action="trust_key", detail=told, reason=reason)
    with opened() as registry:
        rules = registry.trust
        found = rules.book.change(rules.file, change, lambda file: trust_key(file, trusted))
    if as_json:
        print_json(policy_view(found))
    else:
        typer.echo(f"{called} ({trusted.key.key_id}) is trusted for {', '.join(trusted.models)}")


def untrust(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="As keys list shows it.")],
    *,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let a key's signature count no longer; versions that need it are taken out of service."""
    with opened() as registry:
        rules = registry.trust
        gone = trusted_key(rules.policy(), name)
        told = f"{gone.name} ({gone.key.key_id})"
        change = RuleChange(who=who(), action="untrust_key", detail=told, reason=reason)
        rules.book.change(rules.file, change, lambda file: _without(file, gone))
    if as_json:
        print_json({"name": gone.name, "key_id": gone.key.key_id})
    else:
        typer.echo(f"{gone.name} ({gone.key.key_id}) is trusted no longer")


def _without(file: Path, gone: TrustedKey) -> TrustPolicy:
    untrust_key(file, gone.key.key_id)
    return read_policy(file)


def _lines(found: TrustPolicy, folder: Path) -> list[KeyLine]:
    own = {read_public_key(file): file for file in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))}
    private = {
        key: file.with_name(file.name.removesuffix(PUBLIC_SUFFIX) + PRIVATE_SUFFIX)
        for key, file in own.items()
    }
    trusted = {one.key: one for one in found.keys}
    return [
        KeyLine(
            name=trusted[key].name if key in trusted else own[key].name.removesuffix(PUBLIC_SUFFIX),
            key_id=key.key_id,
            models=trusted[key].models if key in trusted else (),
            private_file=str(private[key]) if key in own and private[key].exists() else "",
        )
        for key in (*trusted, *(key for key in own if key not in trusted))
    ]
