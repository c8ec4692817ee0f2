"""What differs between two versions: files, environment, tolerance, what callers see. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from runtimes.contract import TensorSpec
from serving.registry.bundles.compatibility import Interface, changes
from serving.registry.bundles.difference import Comparison, compare, declared_interface
from serving.registry.bundles.manifest import Manifest, Tolerance
from serving.registry.version import ServedVersion
from serving.rollout.report.history import History, Side
from serving.rollout.report.page import Block, Paragraph, Section, Table
from serving.rollout.report.words import NOTHING, duration, latency, short, size

MOST_FILES: Final = 200
LONGEST_VALUE: Final = 2000
OWN_TABLES: Final = frozenset({"files", "golden samples", "tensors"})
"""Parts of a comparison that have a table of their own here."""


def bundle(history: History) -> Section:
    """Say what differs between the bundles."""
    old, new = history.old, history.new
    before = None if old is None else old.manifest
    after = new.manifest
    blocks: list[Block] = []
    if after is None:
        blocks.append(Paragraph(text="The candidate has no manifest in the registry."))
    if before is None:
        blocks.append(Paragraph(text="The version before has no manifest in the registry."))
    blocks += _files(before, after)
    if before is not None and after is not None:
        blocks += _parts(compare(before, after))
    blocks.append(_tolerances(before, after))
    return Section(title="What changed in the bundle", blocks=tuple(blocks))


def interface(history: History) -> Section:
    """Say what callers see of both versions."""
    old, new = _seen_of(history)
    if new is None:
        text = "Not known: no worker's description of it was recorded, and no bundle tells."
        return Section(title="What callers see", blocks=(Paragraph(text=text),))
    blocks: list[Block] = [_tensors(old, new)]
    if old is None:
        blocks.append(Paragraph(text="Not compared: of the version before it is not known."))
    else:
        found = changes(old, new)
        rows = tuple(
            ("compatible" if one.is_compatible else "BREAKS", one.subject, one.text)
            for one in found
        )
        text = "Callers notice nothing." if not found else "What callers of the old version notice:"
        blocks.append(Paragraph(text=text))
        if rows:
            blocks.append(Table(columns=("verdict", "of", "change"), rows=rows))
    return Section(title="What callers see", blocks=tuple(blocks))


def loaded(history: History) -> Block:
    """Say how both versions run, as their workers told."""
    old, new = _served(history)
    if new is None:
        return Paragraph(text="How it was loaded is not recorded.")
    rows = zip(_run(old), _run(new), strict=True)
    return Table(
        columns=("how it runs", "before", "after"),
        rows=tuple((name, before, after) for (name, before), (_, after) in rows),
    )


def _run(served: ServedVersion | None) -> tuple[tuple[str, str], ...]:
    names = ("platform", "device", "engine threads", "load", "one row", "environment", "notes")
    if served is None:
        return tuple((name, NOTHING) for name in names)
    values = (
        served.platform,
        served.device,
        str(served.threads),
        duration(served.load_s),
        latency(served.run_s or None),
        served.fingerprint or NOTHING,
        "; ".join(served.notes) or NOTHING,
    )
    return tuple(zip(names, values, strict=True))


def _served(history: History) -> tuple[ServedVersion | None, ServedVersion | None]:
    """Return what workers told when the candidate was loaded: of the version before, of it."""
    kept = [stop.kept for stop in history.stops if stop.kept.served is not None]
    return (kept[-1].live_served, kept[-1].served) if kept else (None, None)


def _seen_of(history: History) -> tuple[Interface | None, Interface | None]:
    old, new = _served(history)
    return old or _declared(history.old), new or _declared(history.new)


def _declared(side: Side | None) -> Interface | None:
    is_known = side is not None and side.manifest is not None
    return declared_interface(side.manifest) if is_known and side and side.manifest else None


def _tensors(old: Interface | None, new: Interface) -> Table:
    before = {} if old is None else dict(_tensor_texts(old))
    after = dict(_tensor_texts(new))
    return _side_by_side("tensor", before, after)


def _tensor_texts(of: Interface) -> Iterator[tuple[str, str]]:
    for role, specs in (("input", of.inputs), ("output", of.outputs)):
        for spec in specs:
            yield f"{role} {spec.name}", _tensor_text(spec)
    yield "batch", f"up to {of.max_batch_rows} rows" if of.max_batch_rows else "no batch dimension"


def _tensor_text(spec: TensorSpec) -> str:
    dims = ",".join(str(dim) for dim in spec.shape)
    return f"{spec.datatype}[{dims}]{' optional' if spec.optional else ''}"


def _files(before: Manifest | None, after: Manifest | None) -> Iterator[Block]:
    olds, news = _file_texts(before), _file_texts(after)
    names = tuple(dict.fromkeys((*olds, *news)))
    if not names:
        return
    same = {name for name in names if olds.get(name) == news.get(name)}
    ordered = sorted(names, key=lambda name: name in same)
    rows = tuple(
        (
            name,
            olds.get(name, NOTHING),
            "the same" if name in same else news.get(name, NOTHING),
        )
        for name in ordered[:MOST_FILES]
    )
    yield Table(columns=("file", "before", "after"), rows=rows)
    if len(names) > MOST_FILES:
        yield Paragraph(text=f"{len(names) - MOST_FILES:,} more files are not shown.")


def _file_texts(manifest: Manifest | None) -> Mapping[str, str]:
    files = () if manifest is None else manifest.files
    return {file.path: f"{size(file.size_bytes)}, sha256 {file.sha256}" for file in files}


def _parts(found: Comparison) -> Iterator[Block]:
    rows = tuple(
        (part.name, one.field, short(one.before, LONGEST_VALUE), short(one.after, LONGEST_VALUE))
        for part in found.parts
        if part.name not in OWN_TABLES
        for one in part.differences
    )
    if rows:
        yield Table(columns=("part", "field", "before", "after"), rows=rows)
    same = ", ".join(part.name for part in found.parts if not part.differences)
    yield Paragraph(text=f"Unchanged: {same or 'nothing'}.")


def _tolerances(before: Manifest | None, after: Manifest | None) -> Block:
    olds, news = dict(_tolerance_texts(before)), dict(_tolerance_texts(after))
    if not olds and not news:
        return Paragraph(text="Neither bundle says how far outputs may be off golden ones.")
    return _side_by_side("tolerance of", olds, news)


def _tolerance_texts(manifest: Manifest | None) -> Iterator[tuple[str, str]]:
    golden = None if manifest is None else manifest.golden
    if golden is None:
        return
    for output in golden.outputs:
        here, elsewhere = _tolerance(output.same_environment), _tolerance(output.other_environment)
        yield output.name, f"{here} in the environment of packing, {elsewhere} elsewhere"


def _tolerance(allowed: Tolerance) -> str:
    if allowed.kind == "close":
        return f"rtol {allowed.rtol:g}, atol {allowed.atol:g}"
    return f"{allowed.ulp} ulp" if allowed.kind == "ulp" else allowed.kind


def _side_by_side(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Table:
    names: Iterable[str] = dict.fromkeys((*before, *after))
    rows = tuple((name, before.get(name, NOTHING), after.get(name, NOTHING)) for name in names)
    return Table(columns=(what, "before", "after"), rows=rows)
