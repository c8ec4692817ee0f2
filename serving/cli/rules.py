"""The rules of this home's registry, for commands that need nothing else of it."""

from serving.registry.trust import TrustPolicy
from serving.registry.trust_file import TRUST_FILE, find_policy
from serving.settings import Settings


def rules_in_force(settings: Settings) -> TrustPolicy:
    """Return the rules of the registry; the catalog is asked only where their file is missing.

    Raises:
        UntrustedError: The registry has rules, and their file is gone.
        InvalidArgumentError: The file cannot be read.
        NotReadyError: The catalog cannot be asked.
    """
    folder = settings.home / "registry"
    found = find_policy(folder / TRUST_FILE)
    if found is not None:
        return found
    if not settings.registry_url and not (folder / "catalog.sqlite").exists():
        return TrustPolicy()
    from serving.registry.store import Registry  # noqa: PLC0415  SQL takes a second to import

    with Registry.of(settings) as registry:
        return registry.trust.policy()
