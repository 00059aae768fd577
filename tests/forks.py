"""Processes that start in no time: forks of one that has imported everything, and has no threads nor connections."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")

# there is one server for all, and the last list that it is given holds
FORKS.set_forkserver_preload(["tests.chaos.drivers", "tests.chaos.protocols", "pipelines.checkpoints"])
