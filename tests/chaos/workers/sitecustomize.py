"""Inject faults into Ray worker processes. Python imports this module at start if its folder is in PYTHONPATH.

Environment variables name the faults. Each fault happens once per run; a file records that it has happened.

- XLM_TEST_KILL_FOLDER: in each stage, one worker is killed after it has computed its first shard, before it passes the
  shard on. The folder receives one file per stage.
- XLM_TEST_MEMORY_FILE: one tokenizer process allocates memory until Ray's memory monitor kills it.
"""

import importlib.machinery
import os
import signal
import sys
import threading
import time

# The method of each stage that computes one shard.
_METHODS = {
    "pipelines.stages.read": ("Reader", "read"),
    "pipelines.stages.tokenize": ("Tokenize", "step"),
    "pipelines.stages.infer": ("Infer", "step"),
    "pipelines.stages.write": ("Writer", "write"),
}


def _is_first(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class _KillFinder:
    """Patch the stages when a worker imports them; importing them here would slow down every Python process."""

    def find_spec(self, name, path, target=None):
        if name not in _METHODS or (spec := importlib.machinery.PathFinder.find_spec(name, path)) is None:
            return None
        load = spec.loader.exec_module

        def load_and_patch(module):
            load(module)
            _patch(module, *_METHODS[name])

        spec.loader.exec_module = load_and_patch
        return spec


def _patch(module, class_name, method):
    stage = getattr(module, class_name)
    compute = getattr(stage, method)
    marker = f"{os.environ['XLM_TEST_KILL_FOLDER']}/{module.__name__}"

    def compute_and_die(self, work):
        result = compute(self, work)
        result = list(result) if method == "read" else result
        if _is_first(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(stage, method, compute_and_die)


def _allocate():
    while "pipelines.stages.tokenize" not in sys.modules:
        time.sleep(0.05)
    if not _is_first(os.environ["XLM_TEST_MEMORY_FILE"]):
        return
    allocated = []
    while len(allocated) < 80:
        allocated.append(bytearray(os.urandom(1 << 20)) * 100)
        time.sleep(0.02)


if any(arg.endswith("default_worker.py") for arg in sys.orig_argv):
    if "XLM_TEST_KILL_FOLDER" in os.environ:
        sys.meta_path.insert(0, _KillFinder())
    if "XLM_TEST_MEMORY_FILE" in os.environ:
        threading.Thread(target=_allocate, daemon=True).start()
