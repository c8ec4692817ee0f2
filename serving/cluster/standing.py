"""Where our actors stand among the processes of their node.

Our own Ray's processes share a session that stands back for those who serve, and an actor begins
in it, perhaps with a niceness of its own (`ray_process.py`): imports are most of its start. HAProxy
and workers have sessions of their own. In a Ray cluster of others nothing is changed.
"""

from serving.cluster.names import Instance
from serving.niceness import end_niceness, leave_session


def end_starting(instance: Instance) -> None:
    """End this actor's own niceness: it has been imported."""
    if instance.owns_cluster:
        end_niceness()


def stand_with_workers(instance: Instance) -> None:
    """Let this actor compute like HAProxy and the workers, for the front desk is in it."""
    if instance.owns_cluster:
        leave_session()
