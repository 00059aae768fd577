"""The Ray cluster of a run: start or join it, and notice if it is lost or if workers wait for its resources."""

from pipelines.run.cluster.lost_cluster import cluster_watch, find_removal
from pipelines.run.cluster.ray_session import ray_session
from pipelines.run.cluster.waiting_workers import waiting_watch

__all__ = ["cluster_watch", "find_removal", "ray_session", "waiting_watch"]
