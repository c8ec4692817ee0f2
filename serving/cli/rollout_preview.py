"""`bascule rollout plan`: what a rollout would do, without doing it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from runtimes.errors import BasculeError
from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.render import console, duration_text, print_json, size_text
from serving.cli.rollout_options import (
    STANDARD_BAKE,
    STANDARD_SEQUENCE_LIMIT,
    Bake,
    Guard,
    KeepOld,
    Limit,
    PlanWords,
    SequenceLimit,
    Shadow,
    Steps,
    StickyBy,
    StrategyWord,
    To,
    plan_body,
)
from serving.cli.tables import plain_table
from serving.cli.targets import named_number
from serving.ids import model_name
from serving.registry.approval import waiting
from serving.registry.rollouts.forecast import Forecast, Need
from serving.registry.rollouts.plan import QualityTest, Strategy
from serving.settings import load_settings

if TYPE_CHECKING:
    from serving.registry.bundles.difference import Comparison

UNKNOWN = "not known: both versions must be in the registry"
QUALITY = {
    QualityTest.COMPARED: "both versions' data contracts are compared (--guard data_quality=off)",
    QualityTest.LIMITED: "the new version's data contract has a limit (--guard violation_share=…)",
}


def plan(  # noqa: PLR0913  one option each
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    to: To,
    strategy: StrategyWord = Strategy.BLUE_GREEN,
    steps: Steps = "",
    sticky_by: StickyBy = "",
    shadow: Shadow = "",
    bake: Bake = STANDARD_BAKE,
    sequence_limit: SequenceLimit = STANDARD_SEQUENCE_LIMIT,
    limit: Limit = None,
    guard: Guard = None,
    keep_old: KeepOld = False,
    as_json: Json = False,
) -> None:
    """Show what `rollout start` with these options would do; exit status 1 if it would be refused.

    States and their times, what changed between the versions, memory, and missing approvals.
    """
    words = PlanWords(
        strategy=strategy,
        steps=steps,
        sticky_by=sticky_by,
        shadow=shadow,
        bake=bake,
        sequence_limit=sequence_limit,
        limits=limit or (),
        guards=guard or (),
        keep_old=keep_old,
    )
    body = plan_body(named_number(model_name(model), to), words)
    found = AdminClient(load_settings().admin_socket).plan_rollout(model, body)
    changed = comparison(model, found.from_version, found.to_version)
    if as_json:
        print_json({"forecast": found, "difference": changed})
    else:
        console().print(_view(found, changed))
    if found.misfit or found.breaks:
        raise typer.Exit(1)


def comparison(model: str, before: int | None, after: int) -> "Comparison | None":
    """Compare two versions of the registry; None: one of them is not there."""
    if before is None:
        return None
    # The registry's libraries take a second to import: other words of the group do not wait.
    from serving.cli.registry_access import manifest_named, opened  # noqa: PLC0415  see above
    from serving.registry.bundles.difference import compare  # noqa: PLC0415  see above

    with opened() as registry:
        try:
            _, old = manifest_named(registry, f"{model}:{before}")
            _, new = manifest_named(registry, f"{model}:{after}")
        except BasculeError:  # a version of a repository, or one that was collected
            return None
    return compare(old, new)


def changes_text(found: "Comparison | None") -> str:
    """Say in a line what callers notice, and which parts differ."""
    if found is None:
        return UNKNOWN
    parts = ", ".join(part.name for part in found.parts if part.differences) or "nothing"
    if found.contract is None:
        return f"{parts}; callers: the bundles do not say their tensors"
    noticed = "; ".join(
        f"{one.subject} {one.text}{'' if one.is_compatible else ' (breaks callers)'}"
        for one in found.contract
    )
    return f"{parts}; callers notice: {noticed or 'nothing'}"


def _view(found: Forecast, changed: "Comparison | None") -> Group:
    table = plain_table(("state", "at least", "what"))
    for stage in found.stages:
        length = duration_text(stage.at_least_s)
        table.add_row(str(stage.state), length, Text(stage.text))
    name = f"{found.model}: {found.from_version or '-'} → {found.to_version}"
    length = duration_text(found.at_least_s)
    head = f"{name}  {found.strategy}  at least {length} (nothing was changed)"
    return Group(Text(head, style="bold"), table, *(Text(line) for line in _lines(found, changed)))


def _lines(found: Forecast, changed: "Comparison | None") -> Iterator[str]:
    yield f"changed: {changes_text(changed)}"
    if found.breaks:
        yield f"callers would break: {found.breaks} (start needs --force --reason TEXT)"
    new = "is loaded already" if found.new is None else _need(found.new)
    old = "not known" if found.old is None else _need(found.old)
    yield f"memory: the new version {new}; the live one: {old}, and it is loaded"
    if found.old is not None and found.new is not None:
        host = found.old.host_bytes + found.new.host_bytes
        gpu = found.old.gpu_bytes + found.new.gpu_bytes
        yield f"  both together: {size_text(host)}" + (f", GPU {size_text(gpu)}" if gpu else "")
    if found.room is None:
        yield "  free: not measured in this mode, so nothing is refused for it"
    else:
        gpu_text = f", GPU {size_text(found.room.gpu_bytes)}" if found.room.gpu_bytes else ""
        yield f"  free now: {size_text(found.room.host_bytes)}{gpu_text}"
    if found.misfit:
        is_last = found.strategy is Strategy.RECREATE
        yield f"it does not fit: {found.misfit}{'' if is_last else '; use --strategy recreate'}"
    if found.downtime:
        yield f"nobody answers: {found.downtime}"
    if found.data_quality in QUALITY:
        yield f"data quality: {QUALITY[found.data_quality]}"
    if found.missing_approval_count:
        key = f"{found.model}:{found.to_version}"
        yield f"approvals: it {waiting(key, found.missing_approval_count)}"


def _need(need: Need) -> str:
    gpu = f", GPU {size_text(need.gpu_bytes)}" if need.gpu_bytes else ""
    how = "an estimate from its size" if need.is_estimate else "measured when it was packed"
    return f"{size_text(need.host_bytes)}{gpu} ({how})"
