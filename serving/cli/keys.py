"""`bascule keys`: make keys, and say whose signatures count in this registry."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from runtimes.errors import InvalidArgumentError
from serving.cli.render import console, print_json
from serving.registry.keys import (
    PRIVATE_SUFFIX,
    PUBLIC_SUFFIX,
    SigningKey,
    read_key_file,
    read_public_key,
    write_keys,
)
from serving.registry.trust import TrustedKey, TrustPolicy, Unsigned
from serving.registry.trust_file import (
    TRUST_FILE,
    change_policy,
    read_policy,
    trust_key,
    untrust_key,
)
from serving.settings import load_settings

KEY_FOLDER: Final = "keys"

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Passphrase = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file whose first line is the key's passphrase."),
]


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
    home = load_settings().home
    lines = _lines(read_policy(_trust_file()), home / KEY_FOLDER)
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
    as_json: Json = False,
) -> None:
    """Let a key's signature count for some models; a running instance takes note at once."""
    called = name or public.name.removesuffix(PUBLIC_SUFFIX).removesuffix(".pem")
    trusted = TrustedKey(key=read_public_key(public), name=called, models=tuple(model))
    found = trust_key(_trust_file(), trusted)
    if as_json:
        print_json(_policy_view(found))
    else:
        typer.echo(f"{called} ({trusted.key.key_id}) is trusted for {', '.join(trusted.models)}")


def untrust(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="As keys list shows it.")],
    *,
    as_json: Json = False,
) -> None:
    """Let a key's signature count no longer; versions that need it are taken out of service."""
    gone = untrust_key(_trust_file(), name)
    if as_json:
        print_json({"name": gone.name, "key_id": gone.key.key_id})
    else:
        typer.echo(f"{gone.name} ({gone.key.key_id}) is trusted no longer")


def policy(
    *,
    unsigned: Annotated[
        Unsigned | None, typer.Option(help="What becomes of versions that nobody trusted signed.")
    ] = None,
    may_execute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Models whose loading may run code that they carry (.pt2)."
        ),
    ] = None,
    nothing_may_execute: Annotated[
        bool, typer.Option("--nothing-may-execute", help="Empty that list.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the registry's rules, or change them; a running instance takes note at once."""
    file = _trust_file()
    allowed = () if nothing_may_execute else tuple(may_execute) if may_execute else None
    if unsigned is None and allowed is None:
        found = read_policy(file)
    else:
        found = change_policy(file, unsigned, allowed)
    if as_json:
        print_json(_policy_view(found))
        return
    typer.echo(f"unsigned     {found.unsigned.value}")
    typer.echo(f"may execute  {', '.join(found.may_execute) or 'nothing'}")
    for one in found.keys:
        typer.echo(f"trusted      {one.name} ({one.key.key_id}) for {', '.join(one.models)}")
    typer.echo(f"file         {file}")


def read_passphrase(file: Path | None) -> bytes:
    """Return the first line of a file; empty without one.

    Raises:
        NotFoundError: The file cannot be read.
        InvalidArgumentError: Its first line is empty.
    """
    if file is None:
        return b""
    line = read_key_file(file).partition(b"\n")[0].rstrip(b"\r")
    if not line:
        raise InvalidArgumentError(f"the first line of {file} is empty: write the passphrase there")
    return line


def _trust_file() -> Path:
    return load_settings().home / "registry" / TRUST_FILE


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


def _policy_view(found: TrustPolicy) -> dict[str, object]:
    return {
        "unsigned": found.unsigned.value,
        "may_execute": found.may_execute,
        "keys": [
            {"name": one.name, "key_id": one.key.key_id, "models": one.models} for one in found.keys
        ],
    }
