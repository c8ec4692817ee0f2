"""What a command is asked about: a bundle's folder, or a version of the registry."""

from pathlib import Path

from serving.errors import NotFoundError
from serving.ids import version_key
from serving.registry.bundle import Head
from serving.registry.formats import format_named
from serving.registry.store import Registry
from serving.registry.trust import judge
from serving.registry.trust_file import TRUST_FILE, read_policy
from serving.registry.trust_gate import candidate_of


def bundle_folder(target: str, home: Path) -> Path:
    """Return the folder of a bundle that is named by path, or as MODEL:VERSION.

    Raises:
        NotFoundError: It is neither.
        InvalidArgumentError: The version is no number.
    """
    path = Path(target)
    if path.is_dir():
        return path
    if ":" not in target:
        raise NotFoundError(f"{target} is neither a bundle's folder nor MODEL:VERSION")
    wanted = version_key(target)
    with Registry(home) as registry:
        return registry.folder(wanted.model, wanted.version)


def may_execute(head: Head, home: Path) -> bool:
    """Tell whether the registry's rules let a bundle of this kind run its author's code.

    Raises:
        InvalidArgumentError: The rules cannot be read.
    """
    if not format_named(head.manifest.format).runs_code:
        return False
    policy = read_policy(home / "registry" / TRUST_FILE)
    return judge(policy, candidate_of(head)).refusal is None
