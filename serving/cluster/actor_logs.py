"""Our own log of an actor, in `home/logs`; Ray's and Serve's logs stay in the session's folder."""

from serving.logs import configure_logs
from serving.settings import Settings


def log_to_file(settings: Settings, name: str) -> None:
    """Write this actor's events to `home/logs/<name>.log`."""
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    file = (settings.log_dir / f"{name}.log").open("a", buffering=1)  # for the actor's whole life
    configure_logs(settings.log_level, file)
