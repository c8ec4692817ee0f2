"""Pure: are the files those that were packed, whole, inside the folder and of the right format?"""

from collections.abc import Iterator
from typing import Final

from runtimes.findings import Finding
from runtimes.model_facts import (
    ExternalData,
    FileKind,
    OnnxModel,
    UnreadableFile,
    kind_of,
)
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import FolderFacts, Subject

MAX_PROTO_BYTES: Final = (1 << 31) - 1
COPY_AGAIN: Final = "copy it again and compare sizes"
PACK_AGAIN: Final = "pack or copy the bundle again"
KIND_NAMES: Final = {
    FileKind.ONNX: "an ONNX model",
    FileKind.TORCHSCRIPT: "a TorchScript archive",
    FileKind.PT2: "a torch.export archive (.pt2)",
    FileKind.CHECKPOINT: "a checkpoint of torch.save",
    FileKind.PICKLE: "a pickle",
    FileKind.UNKNOWN: "no model that is known here",
}
KINDS_OF_FORMAT: Final = {
    "onnx": FileKind.ONNX,
    "torchscript": FileKind.TORCHSCRIPT,
    "torch_export": FileKind.PT2,
}
EXPORT_REMEDY: Final = {
    FileKind.CHECKPOINT: "save the whole model with torch.jit.script(module).save(path), or export "
    "it to ONNX",
    FileKind.PICKLE: "export the model to ONNX",
}


def check_files(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the files of a version."""
    if subject.manifest_problem:
        yield found("BP-F10", "manifest", subject.manifest_problem, PACK_AGAIN)
        return
    yield from _listed(subject.folder)
    yield from _links(subject.folder)
    yield from _content(subject)
    if isinstance(subject.model, OnnxModel):
        yield from _external(subject.model, subject.folder)


def _listed(folder: FolderFacts) -> Iterator[Finding]:
    if folder.listed is None:
        return
    measured = {file.path: file for file in folder.measured}
    listed = {file.path: file for file in folder.listed}
    links = {*folder.links, *folder.outside}
    for path, file in sorted(listed.items()):
        there = measured.get(path)
        if there is None:
            if path not in links:
                yield found("BP-F07", path, "the manifest lists it and it is missing", PACK_AGAIN)
        elif there.size_bytes != file.size_bytes:
            yield found(
                "BP-F01",
                path,
                f"it has {there.size_bytes} bytes and the manifest says {file.size_bytes}",
                PACK_AGAIN,
                evidence=Evidence(str(there.size_bytes), str(file.size_bytes)),
            )
        elif there.sha256 and there.sha256 != file.sha256:
            yield found(
                "BP-F01",
                path,
                f"sha256 {there.sha256[:12]}… differs from the manifest's {file.sha256[:12]}…",
                PACK_AGAIN,
                evidence=Evidence(there.sha256, file.sha256),
            )
    for path in sorted(measured.keys() - listed.keys()):
        yield found(
            "BP-F08", path, "the manifest does not list it", "remove it, or pack the bundle again"
        )


def _links(folder: FolderFacts) -> Iterator[Finding]:
    bad = folder.outside if folder.listed is None else (*folder.links, *folder.outside)
    for path in sorted(set(bad)):
        where = "leads out of the model's folder" if path in folder.outside else "is a link"
        yield found(
            "BP-F04", path, f"it {where}", "put a copy of the file there in place of the link"
        )


def _content(subject: Subject) -> Iterator[Finding]:
    name, model = subject.folder.model_file, subject.model
    if model is None or (isinstance(model, UnreadableFile) and _is_damaged(subject)):
        return
    if isinstance(model, UnreadableFile):
        code = "BP-F06" if model.is_hostile else "BP-F09"
        remedy = "export the model anew with its own tools" if model.is_hostile else COPY_AGAIN
        yield found(code, name, f"it cannot be used: {model.reason}", remedy)
        return
    kind, wanted = kind_of(model), KINDS_OF_FORMAT.get(subject.format)
    imports = () if isinstance(model, OnnxModel) else model.pickle_imports
    if wanted is not kind and not imports:  # what imports is a finding about security
        yield _wrong_kind(subject, kind)
    if isinstance(model, OnnxModel) and model.proto_bytes > MAX_PROTO_BYTES:
        yield found(
            "BP-F06",
            name,
            f"it has {model.proto_bytes} bytes, and protobuf ends at {MAX_PROTO_BYTES}",
            "save the model with external data",
            evidence=Evidence(str(model.proto_bytes), str(MAX_PROTO_BYTES)),
        )


def _is_damaged(subject: Subject) -> bool:
    """Tell whether the manifest has already shown that the model file is not the packed one."""
    folder = subject.folder
    listed = {file.path: file for file in folder.listed or ()}.get(folder.model_file)
    measured = {file.path: file for file in folder.measured}.get(folder.model_file)
    if listed is None:
        return False
    return (
        measured is None
        or listed.size_bytes != measured.size_bytes
        or (bool(measured.sha256) and listed.sha256 != measured.sha256)
    )


def _wrong_kind(subject: Subject, kind: FileKind) -> Finding:
    declared = subject.format or "no format"
    remedy = EXPORT_REMEDY.get(kind, "correct the format, or the file's name")
    return found(
        "BP-F05",
        subject.folder.model_file,
        f"it is declared as {declared} and is {KIND_NAMES[kind]}",
        remedy,
        evidence=Evidence(kind.value, declared),
    )


def _external(model: OnnxModel, folder: FolderFacts) -> Iterator[Finding]:
    sizes = {file.path: file.size_bytes for file in folder.measured}
    parent = folder.model_file.split("/")[:-1]
    for place, parts in _by_location(model.external).items():
        inner = _inner_path(parent, place)
        if inner is None or inner in folder.outside:
            yield found(
                "BP-F04",
                place,
                f"tensor '{parts[0].tensor}' reads it, and it leads out of the model's folder",
                "keep the data file beside the model file and name it without a folder",
            )
        elif inner not in sizes:
            if inner not in {file.path for file in folder.listed or ()}:
                yield found(
                    "BP-F02",
                    place,
                    f"tensor '{parts[0].tensor}'{_others(len(parts) - 1)} lies in it, and it is "
                    "missing",
                    f"put {place} beside the model file, or pack it with --include",
                )
        else:
            yield from _out_of_range(place, parts, sizes[inner])


def _others(count: int) -> str:
    return f" (and {count} more)" if count else ""


def _out_of_range(
    place: str, parts: tuple[ExternalData, ...], size_bytes: int
) -> Iterator[Finding]:
    last = max(parts, key=lambda part: part.offset + part.length)
    first = min(parts, key=lambda part: part.offset)
    wrong = first if first.offset < 0 else last
    end = wrong.offset + wrong.length
    if wrong.offset < 0 or end > size_bytes:
        yield found(
            "BP-F03",
            place,
            f"tensor '{wrong.tensor}' needs bytes {wrong.offset} to {end} of it, and it has "
            f"{size_bytes}",
            "copy the model file and its data file again, from the same export",
            evidence=Evidence(str(size_bytes), str(end)),
        )


def _by_location(external: tuple[ExternalData, ...]) -> dict[str, tuple[ExternalData, ...]]:
    places: dict[str, list[ExternalData]] = {}
    for part in external:
        places.setdefault(part.location, []).append(part)
    return {place: tuple(parts) for place, parts in sorted(places.items())}


def _inner_path(parent: list[str], location: str) -> str | None:
    """Return where external data lies in the folder; None: outside of it."""
    if not location or location.startswith("/") or "\\" in location or "\0" in location:
        return None
    parts = [*parent]
    for part in location.split("/"):
        if part == "..":
            if len(parts) == len(parent):
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
