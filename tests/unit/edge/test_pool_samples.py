"""What HAProxy says of its backends, as metrics."""

from serving.edge.pool_samples import pool_samples
from serving.monitor import edge_catalogue
from serving.monitor.exposition import render
from serving.monitor.metric_spec import MetricSpec

SAID = """# pxname,svname,qcur,act,econ,eresp,wretr,wredis,hrsp_5xx,qtime,ctime,rtime,ttime,
s0001,BACKEND,2,3,4,5,6,7,8,1,2,30,45,
s0002,BACKEND,,,,,,,,,,,,
front_desk,BACKEND,9,9,9,9,9,9,9,9,9,9,9,
"""


def test_pools_have_the_figures_of_their_slots() -> None:
    """Times in seconds; backends that no pool has are left out."""
    lines = render(pool_samples(SAID, {"p": "s0001"})).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'bascule_edge_time_average_seconds{pool="p",part="queue"} 0.001',
        'bascule_edge_time_average_seconds{pool="p",part="connect"} 0.002',
        'bascule_edge_time_average_seconds{pool="p",part="response"} 0.03',
        'bascule_edge_time_average_seconds{pool="p",part="total"} 0.045',
        'bascule_edge_retries_total{pool="p",way="same"} 6',
        'bascule_edge_retries_total{pool="p",way="other"} 7',
        'bascule_edge_worker_errors_total{pool="p",kind="connect"} 4',
        'bascule_edge_worker_errors_total{pool="p",kind="response"} 5',
        'bascule_edge_worker_errors_total{pool="p",kind="5xx"} 8',
        'bascule_edge_waiting_calls{pool="p"} 2',
        'bascule_edge_workers_up{pool="p"} 3',
    ]


def test_what_was_not_measured_is_nothing() -> None:
    """A backend without a call has empty columns; a slot that is gone has no samples."""
    found = [*pool_samples(SAID, {"new": "s0002", "gone": "s0009"})]
    assert {sample.labels[0] for sample in found} == {"new"}
    assert {sample.value for sample in found} == {0}
    specs = {one for one in vars(edge_catalogue).values() if isinstance(one, MetricSpec)}
    assert {sample.metric for sample in found} == specs
