"""`bascule keys policy`, `restore-rules` and `remove-rules`: the rules of a registry."""

from pathlib import Path
from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.json_flag import Json
from serving.cli.registry_access import Reason, opened, who
from serving.cli.render import print_json
from serving.cli.rule_effects import OF_REPOSITORIES, require_consent
from serving.cli.rules import rules_in_force
from serving.registry.trust.rule_book import RuleChange
from serving.registry.trust.trust import TrustPolicy, Unsigned
from serving.registry.trust.trust_file import TRUST_FILE, change_policy, changed_policy
from serving.settings import load_settings


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
    yes: Annotated[
        bool, typer.Option("--yes", help="Even if versions are taken out of service by it.")
    ] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Show the registry's rules, or change them; a running instance takes note at once.

    Rules that take versions out of service need --yes. Models of a model repository are unsigned,
    and no rule touches them.
    """
    allowed = () if nothing_may_execute else tuple(may_execute) if may_execute else None
    settings = load_settings()
    file = settings.home / "registry" / TRUST_FILE
    if unsigned is None and allowed is None:
        found = rules_in_force(settings)
    else:
        change = RuleChange(
            who=who(), action="set_policy", detail=_told(unsigned, allowed), reason=reason
        )
        with opened() as registry:
            changed = changed_policy(registry.trust.policy(), unsigned, allowed)
            require_consent(registry, changed, is_agreed=yes)
            found = registry.trust.book.change(
                file, change, lambda file: change_policy(file, unsigned, allowed)
            )
    if as_json:
        print_json(policy_view(found))
    else:
        _show(found, file)
        if unsigned is Unsigned.REFUSE:
            typer.echo(OF_REPOSITORIES)


def restore_rules(*, reason: Reason = "", as_json: Json = False) -> None:
    """Write the rules that were in force last, where their file was lost."""
    change = RuleChange(who=who(), action="restore_rules", reason=reason)
    with opened() as registry:
        rules = registry.trust
        found = rules.book.restore(rules.file, change)
    if as_json:
        print_json(policy_view(found))
    else:
        _show(found, rules.file)


def remove_rules(
    *,
    reason: Annotated[str, typer.Option(help="Why: it goes to the audit log.")],
    as_json: Json = False,
) -> None:
    """Give the registry's rules up: from then on every version is taken, signed or not."""
    if not reason.strip():
        raise InvalidArgumentError("--reason must say why the rules are removed")
    change = RuleChange(who=who(), action="remove_rules", reason=reason.strip())
    with opened() as registry:
        rules = registry.trust
        rules.book.remove(rules.file, change)
    if as_json:
        print_json(policy_view(TrustPolicy()))
    else:
        typer.echo("the registry has no rules any more: every version is taken, signed or not")


def policy_view(found: TrustPolicy) -> dict[str, object]:
    """Return rules as `--json` prints them."""
    return {
        "unsigned": found.unsigned.value,
        "may_execute": found.may_execute,
        "keys": [
            {"name": one.name, "key_id": one.key.key_id, "models": one.models} for one in found.keys
        ],
    }


def _told(unsigned: Unsigned | None, allowed: tuple[str, ...] | None) -> str:
    parts = [] if unsigned is None else [f"unsigned {unsigned.value}"]
    if allowed is not None:
        parts.append(f"may execute {', '.join(allowed) or 'nothing'}")
    return "; ".join(parts)


def _show(found: TrustPolicy, file: Path) -> None:
    typer.echo(f"unsigned     {found.unsigned.value}")
    typer.echo(f"may execute  {', '.join(found.may_execute) or 'nothing'}")
    for one in found.keys:
        typer.echo(f"trusted      {one.name} ({one.key.key_id}) for {', '.join(one.models)}")
    typer.echo(f"file         {file}")
