"""Two simulated Ray nodes on this machine: the bytes of one process, and what survives a killed worker, node and driver."""

import os
import secrets

# Before Ray is imported: its own processes take these along. It would write a token of its own into the home folder.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

import socket
import threading
import time

import pytest

from precompute import embed_shards
from precompute.common.runners import RunnerError, run_shards
from tests.small import FakeEncoder, Job, contents, embed, folder_of, square

pytestmark = [
    pytest.mark.slow,
    # Ray leaves its own pipes and sockets to the collector when a driver disconnects or a node is shut down.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
# A node that is gone counts as gone after a second, not after half a minute.
QUICK = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with one core each, the first of which is the head."""
    from ray.cluster_utils import Cluster  # here: the ordinary run reads this file too

    head = NODE | {"include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(**NODE)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(nodes):
    """The cluster's address, by this machine's own name: tests may not reach for others, and Ray makes it the node's again."""
    return f"127.0.0.1:{nodes.address.rpartition(':')[2]}"


def test_the_real_backbone_on_two_nodes_gives_the_bytes_of_one_process(cluster, tmp_path):
    folder = folder_of(tmp_path / "photos", 6)
    for name, runner in (("here", ("--workers", 1)), ("ray", ("--runner", "ray", "--address", cluster))):
        embed_shards.main([str(o) for o in ("--source", folder, "--out", tmp_path / name, "--size", 3, *runner)])
    assert contents(tmp_path / "here") == contents(tmp_path / "ray") and len(contents(tmp_path / "ray")) == 5


def test_both_nodes_work_a_killed_worker_is_replaced_and_a_second_run_has_nothing_to_do(cluster, tmp_path):
    folder, out = folder_of(tmp_path / "photos", 24), tmp_path / "out"
    embed(tmp_path / "whole", folder)
    encoder = FakeEncoder(tmp_path / "log", deadly=tmp_path / "killed", seconds=0.5)
    assert embed(out, folder, encoder=encoder, runner="ray", workers=2, address=cluster) == [3] * 9  # one shard twice
    assert encoder.deadly.exists() and os.getpid() not in encoder.embedded(0)
    assert len(set(encoder.embedded(0))) == 3  # of two nodes, and the one that came after
    assert embed(out, folder, encoder=encoder, runner="ray", workers=2, address=cluster) == []
    assert contents(out) == contents(tmp_path / "whole")


def test_a_job_that_ends_every_worker_is_named_once_all_others_are_finished(cluster, tmp_path):
    jobs = [Job(tmp_path, i, "dies" if i == 1 else "") for i in range(5)]
    with pytest.raises(RunnerError, match=r"1 given up after ending 3.*\n  job 1: WorkerCrashedError"):
        list(run_shards(square, jobs, "ray", 2, cluster))
    assert sorted(int(path.stem) for path in tmp_path.glob("*.txt")) == [0, 2, 3, 4]


def test_a_node_that_is_gone_leaves_the_same_bytes(nodes, cluster, tmp_path):
    """The last test here: the cluster is smaller afterwards."""
    folder, out = folder_of(tmp_path / "photos", 30), tmp_path / "out"
    embed(tmp_path / "whole", folder)
    encoder = FakeEncoder(tmp_path / "log", seconds=0.3)
    removed = []

    def remove():
        while len(encoder.embedded()) < 3:
            time.sleep(0.02)
        nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
        removed.append(len(encoder.embedded()))

    thread = threading.Thread(target=remove)
    thread.start()
    embed(out, folder, encoder=encoder, runner="ray", workers=2, address=cluster)
    thread.join()
    assert removed and removed[0] < 10 <= len(encoder.embedded()) <= 12
    assert contents(out) == contents(tmp_path / "whole")


def test_without_an_address_ray_starts_here_and_ends_with_the_run(tmp_path):
    import ray  # here: the ordinary run reads this file too

    ray.shutdown()  # of what earlier tests used
    assert sorted(run_shards(square, [Job(tmp_path, i) for i in range(3)], "ray", 1)) == [0, 1, 2]
    assert not ray.is_initialized()


def test_an_address_where_no_cluster_is_says_so_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(RunnerError, match=rf"no Ray cluster answers at 127\.0\.0\.1:{free} .*ray start --head"):
        list(run_shards(square, [Job(tmp_path, 1)], "ray", 1, f"127.0.0.1:{free}"))
