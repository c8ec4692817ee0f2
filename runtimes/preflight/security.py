"""Pure: may this be loaded at all? Judged before anything that could run the author's code."""

from collections.abc import Iterator
from typing import Final

from runtimes.findings import Finding, Severity
from runtimes.model_facts import PickledFile, Pt2Archive, TorchScriptArchive
from runtimes.preflight.catalogue import Evidence, found
from runtimes.preflight.subject import Metadata, Subject, Trust

LIBRARY_SUFFIXES: Final = (".so", ".dylib", ".dll", ".pyd")
SHOWN: Final = 3
EXPORTED: Final = "torch_export"
SIGN: Final = "sign the bundle with a trusted key (pack --sign), or trust the key that signed it"


def check_security(subject: Subject) -> Iterator[Finding]:
    """Yield what makes a version unsafe to load."""
    yield from _pickles(subject)
    yield from _trust(subject.trust)
    yield from _folder(subject)
    if subject.metadata is not None:
        yield from _licence(subject.metadata)


def _pickles(subject: Subject) -> Iterator[Finding]:
    model, name, may_execute = subject.model, subject.folder.model_file, subject.trust.may_execute
    if isinstance(model, TorchScriptArchive | Pt2Archive | PickledFile) and model.pickle_imports:
        shown = ", ".join(model.pickle_imports[:SHOWN])
        yield found(
            "BP-S01",
            name,
            f"a pickle in it imports {shown}: loading it would run code of its author",
            "do not load it; ask its author for an ONNX export",
            evidence=Evidence(shown, "tensors and containers only"),
        )
        return
    if subject.format == EXPORTED and isinstance(model, Pt2Archive) and not may_execute:
        what = (
            f"its member {model.pickles[0]} is a pickle"
            if model.pickles
            else "a torch.export archive can carry code"
        )
        is_trusted = subject.trust.state == "trusted"
        lacking = (
            "model is not on the allow-list" if is_trusted else "bundle has no trusted signature"
        )
        yield found(
            "BP-S02",
            name,
            f"{what}, loading it may run code, and the {lacking}",
            "if you vouch for it, allow it by bascule keys policy --may-execute MODEL"
            if is_trusted
            else f"{SIGN}, or export the model to ONNX",
            evidence=Evidence(subject.trust.state, "a trusted signature and the allow-list"),
        )


def _trust(trust: Trust) -> Iterator[Finding]:
    if trust.state == "invalid":
        yield found(
            "BP-S04",
            "signature",
            f"the signature does not verify: {trust.problem or 'the bundle was changed'}",
            "fetch the bundle again from its author, or pack and sign it anew",
            evidence=Evidence("invalid", "a signature that verifies"),
        )
        return
    if trust.state not in {"unsigned", "untrusted"} or trust.required == "allow":
        return
    signer = f"signed by {trust.signer or 'an unknown key'}, which is not trusted here"
    yield found(
        "BP-S04",
        "signature",
        f"the bundle is {'not signed' if trust.state == 'unsigned' else signer}",
        SIGN,
        evidence=Evidence(trust.state, "trusted"),
        severity=Severity.ERROR if trust.required == "refuse" else Severity.WARNING,
    )


def _folder(subject: Subject) -> Iterator[Finding]:
    folder = subject.folder
    for file in folder.measured:
        if file.path.endswith(LIBRARY_SUFFIXES):
            yield found(
                "BP-S03",
                file.path,
                "it is native code, which is never loaded here",
                "leave it out, and export the model with standard operators",
            )
    if folder.writable:
        yield found(
            "BP-S05",
            folder.writable[0],
            f"every user of the node can change {_and_more(folder.writable)}",
            "chmod -R o-w the model's folder",
        )
    if folder.foreign:
        yield found(
            "BP-S05",
            folder.foreign[0],
            f"another user owns {_and_more(folder.foreign)}, and can change it",
            "chown the model's folder to the user that serves it",
        )


def _licence(metadata: Metadata) -> Iterator[Finding]:
    allowed = ", ".join(metadata.allowed_licences)
    if not metadata.licence:
        yield found(
            "BP-S06",
            "licence",
            "no licence is set",
            "pack it again with --licence, for example --licence apache-2.0",
            evidence=Evidence("", allowed),
        )
    elif metadata.allowed_licences and metadata.licence not in metadata.allowed_licences:
        yield found(
            "BP-S06",
            "licence",
            f"licence {metadata.licence[:80]} is not among those allowed: {allowed}",
            "use a model with an allowed licence, or have this one allowed",
            evidence=Evidence(metadata.licence[:80], allowed),
        )


def _and_more(names: tuple[str, ...]) -> str:
    first = "the model's folder" if names[0] == "." else names[0]
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
