"""What it took, who vouches for it, what the audit log has, and what nobody measured. Pure."""

from collections.abc import Iterator

from serving.registry.rollouts.forecast import Need
from serving.registry.rollouts.plan import Guardrails, Strategy
from serving.registry.rollouts.record import ENDED, RolloutState
from serving.rollout.engine.quality_signs import TESTS
from serving.rollout.report.history import History, Side, Signature
from serving.rollout.report.judgement import golden_text, newest_comparison
from serving.rollout.report.page import Block, Items, Paragraph, Section, Table, facts
from serving.rollout.report.verdicts import samples_of
from serving.rollout.report.words import NOTHING, moment, short, size

LONGEST_DETAIL = 2000


def memory(history: History) -> Section:
    """Say what was foreseen of memory, and what was seen."""
    found = next((one.kept.forecast for one in history.stops if one.kept.forecast), None)
    blocks: list[Block] = []
    if found is None:
        text = "No forecast was recorded: a rollback asks for none, and an older Bascule kept none."
        blocks.append(Paragraph(text=text))
    else:
        both = None
        if found.old is not None and found.new is not None:
            both = Need(
                host_bytes=found.old.host_bytes + found.new.host_bytes,
                gpu_bytes=found.old.gpu_bytes + found.new.gpu_bytes,
                is_estimate=found.old.is_estimate or found.new.is_estimate,
            )
        room = "not measured in this mode"
        if found.room is not None:
            room = _sizes(found.room.host_bytes, found.room.gpu_bytes)
        rows = (
            ("the version before", _need(found.old, "not known")),
            ("the candidate", _need(found.new, "was loaded already")),
            ("both together", _need(both, "")),
            ("free at the start", room),
            ("it did not fit", found.misfit),
            ("nobody answers", found.downtime),
        )
        blocks.append(facts(rows))
    figures = [one.kept.figures for one in history.stops if one.kept.figures is not None]
    seen = next((one for one in reversed(figures) if one.first_rss_bytes), None)
    told = "Not measured while it ran: its worker hosted other versions, or too few calls came."
    if seen is not None:
        told = (
            f"Seen: the candidate's worker took {size(seen.first_rss_bytes)} when calls began, and "
            f"{size(seen.rss_bytes)} at the last change that followed a comparison."
        )
    return Section(title="Memory", blocks=(*blocks, Paragraph(text=told)))


def signature(history: History) -> Section:
    """Say who signed the bundles, and whether that counts."""
    sides = [one for one in (history.old, history.new) if one is not None]
    rows = tuple(_signature_row(one) for one in sides)
    told = (
        "Signatures were verified over the manifest, which lists every file's sha256, when this "
        f"report was made ({moment(history.made_utc)}); the bytes of the files were compared "
        "with it by the worker that loaded them. What counts is decided by the registry's rules "
        "of today."
    )
    columns = ("version", "bundle digest", "signed by keys", "counts as", "verdict")
    blocks = (Table(columns=columns, rows=rows), Paragraph(text=told))
    return Section(title="Signatures", blocks=blocks)


def audit(history: History) -> Section:
    """Say what the audit log has of this rollout, with its hashes."""
    chain = history.chain
    told = f"{chain.event_count:,} events, unbroken; head {chain.head or NOTHING}."
    if chain.broken:
        told = f"BROKEN after {chain.event_count:,} events: {chain.broken}"
    rows = tuple(
        (
            str(entry.number),
            moment(entry.event.at_utc),
            entry.event.who,
            entry.event.action,
            "all" if entry.event.version is None else str(entry.event.version),
            short(entry.event.detail, LONGEST_DETAIL),
            short(entry.event.reason, LONGEST_DETAIL),
            entry.event.hash,
        )
        for entry in history.entries
    )
    columns = ("event", "when", "who", "what", "version", "detail", "why", "hash")
    check = "`bascule audit verify` follows the chain; a head noted elsewhere proves it later."
    blocks = (Paragraph(text=told), Table(columns=columns, rows=rows), Paragraph(text=check))
    return Section(title="Audit", blocks=blocks)


def unmeasured(history: History) -> Section:
    """List what this page cannot say."""
    return Section(title="What was not measured", blocks=(Items(texts=tuple(_gaps(history))),))


def _gaps(history: History) -> Iterator[str]:
    rollout = history.rollout
    golden = golden_text(history)
    if golden.startswith("Not"):
        yield f"Golden samples: {golden.partition(': ')[2]}"
    if newest_comparison(history) is None:
        yield "Answers to equal calls: no live call was copied (no shadow, no canary share)."
    yield from _off(rollout.plan.guardrails)
    if rollout.plan.strategy is Strategy.ROLLBACK:
        yield "A rollback compares nothing: the version served before."
    if not samples_of(history):
        yield "Traffic over time: no window was recorded."
    elif any(one.transition.state is RolloutState.SWITCHED for one in history.stops):
        yield (
            "Candidate and live version in the same time, after the flip: from then on the "
            "candidate is compared with the time before, which is not randomised."
        )
    if rollout.state not in ENDED and history.now is None:
        yield "What came after the last recorded change: no running instance was asked."
    yield (
        "Traffic that a controller saw between the last recorded change and its own end: the next "
        "one begins anew."
    )
    yield "Labels that come later: no guardrail here looks at them."


def _off(rails: Guardrails) -> Iterator[str]:
    if not rails.output_shift:
        yield "Distribution of outputs: that guardrail was off."
    if rails.data_quality not in TESTS:
        yield (
            "Data quality: that guardrail was off, as it is where the live version has no data "
            "contract and the candidate none that is in force."
        )


def _signature_row(side: Side) -> tuple[str, ...]:
    found = side.signature
    digest = NOTHING if side.row is None else side.row.digest
    keys = ", ".join(found.key_ids) or NOTHING
    names = ", ".join(found.trusted_names) or NOTHING
    return (str(side.version), digest, keys, names, _signature_text(found))


def _signature_text(found: Signature) -> str:
    if found.problem:
        return f"not verified: {found.problem}"
    if not found.key_ids:
        return "not signed"
    return "verified" if found.trusted_names else "verified, by a key that nobody trusts for it"


def _need(need: Need | None, otherwise: str) -> str:
    if need is None:
        return otherwise
    how = "an estimate by the size of its files" if need.is_estimate else "as packing measured"
    return f"{_sizes(need.host_bytes, need.gpu_bytes)} ({how})"


def _sizes(host_bytes: int, gpu_bytes: int) -> str:
    return f"{size(host_bytes)}{f', GPU {size(gpu_bytes)}' if gpu_bytes else ''}"
