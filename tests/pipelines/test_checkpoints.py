"""Checkpoints by URL: the same content whatever the way, fetched once, whole or not at all, and never another."""

import os
import resource
import select
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

import pipelines.checkpoints.cache
from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint, named_as, pin_checkpoint
from pipelines.errors import FatalError, RetryableError
from pipelines.storage.stores import open_client
from tests.forks import FORKS
from tests.pipelines.checkpoint_servers import Shelf, commit_of, model_hub, object_store
from xlm_core import CheckpointError, XLMTokenizer, check_checkpoint, content_hash

pytestmark = pytest.mark.long  # these tests start servers

FILES = {"config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, and no patience."""
    monkeypatch.setenv("XLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pipelines.checkpoints.cache, "_RETRY_AFTER_S", (0.01, 0.01, 0.01))
    return tmp_path / "cache"


@pytest.fixture
def files(checkpoint: Path) -> dict[str, bytes]:
    """The demo's checkpoint, among files that no job needs."""
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    return files | {"optimizer.pt": b"large", "README.md": b"text", "pytorch_model.bin": b"the same in another form"}


@pytest.fixture
def shelf(files: dict[str, bytes]) -> Shelf:
    return Shelf({f"xlm/{name}": data for name, data in files.items()} | {"xlm/runs/config.json": b"of something else"})


@pytest.fixture
def store(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The demo's checkpoint in an object store; gives its URL."""
    with object_store(shelf) as endpoint:
        environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        for name, value in (environment | {"AWS_REGION": "us-east-1"}).items():
            monkeypatch.setenv(name, value)
        open_client.cache_clear()  # it holds the last test's port
        yield "s3://bucket/xlm"


@pytest.fixture
def hub_shelf(files: dict[str, bytes]) -> Shelf:
    return Shelf(files)


@pytest.fixture
def hub(hub_shelf: Shelf, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The demo's checkpoint as hf://org/name; gives the environment to reach it in."""
    with model_hub(hub_shelf) as endpoint:
        yield {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")}


def answer(replies: Any, environment: dict[str, str], function: Callable[..., Any], *arguments: Any) -> None:
    os.environ.update(environment)
    try:
        replies.put(function(*arguments))
    except Exception as error:
        replies.put(error)


def in_processes(calls: list[tuple[Any, ...]], environment: dict[str, str] | None = None) -> list[Any]:
    """Make each call in a process of its own, all at once; gives what they return or raise, as they end."""
    replies = FORKS.Queue()
    environment = {"XLM_CACHE": os.environ["XLM_CACHE"]} | (environment or {})
    environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    processes = [FORKS.Process(target=answer, args=(replies, environment, *call)) for call in calls]
    for process in processes:
        process.start()
    results = [replies.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return results


def in_process(function: Callable[..., Any], *arguments: Any, **environment: str) -> Any:
    return in_processes([(function, *arguments)], environment)[0]


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def forget(cache: Path) -> None:
    """Be another node, which has nothing."""
    shutil.rmtree(cache, ignore_errors=True)


# a local directory


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_directory_is_used_where_it_lies(checkpoint: Path, cache: Path, scheme: str):
    pinned = pin_checkpoint(f"{scheme}{checkpoint}")
    assert pinned == PinnedCheckpoint(str(checkpoint), content_hash(checkpoint))
    assert local_checkpoint(pinned) == checkpoint
    assert names(cache / "checkpoints") == set()


def test_a_local_directory_that_changes_under_a_running_job_stops_it(checkpoint: Path, tmp_path: Path):
    ours = Path(shutil.copytree(checkpoint, tmp_path / "ours"))
    pinned = pin_checkpoint(str(ours))
    weights = bytearray((ours / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (ours / "model.safetensors").write_bytes(weights)
    with pytest.raises(FatalError, match=r"changed while the job ran"):
        local_checkpoint(pinned)
    shutil.rmtree(ours)
    with pytest.raises(FatalError, match=r"no such directory on node .* share"):
        local_checkpoint(pinned)


def test_a_local_directory_needs_no_cache(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLM_CACHE", "/proc/nothing/can/be/made/here")
    assert local_checkpoint(pin_checkpoint(str(checkpoint))) == checkpoint


# a directory of a store


def test_a_url_gives_what_the_directory_gives(store: str, shelf: Shelf, checkpoint: Path):
    pinned = pin_checkpoint(store)
    assert pinned.content_hash == content_hash(checkpoint)
    directory = local_checkpoint(pinned)
    assert names(directory) == FILES
    assert shelf.bodies == Counter(f"xlm/{name}" for name in FILES)  # nothing else is read, and nothing twice
    assert check_checkpoint(directory, "trunk") == check_checkpoint(checkpoint, "trunk")
    assert XLMTokenizer.from_pretrained(directory).vocab == XLMTokenizer.from_pretrained(checkpoint).vocab


def test_fsspec_serves_as_well(files: dict[str, bytes], checkpoint: Path):
    memory = fsspec.filesystem("memory")
    for name, data in files.items():
        memory.pipe_file(f"/models/xlm/{name}", data)
    pinned = pin_checkpoint("memory://models/xlm")
    assert content_hash(local_checkpoint(pinned)) == content_hash(checkpoint)
    memory.pipe_file("/models/xlm/merges.txt", files["merges.txt"] + b"e r 0\n")
    assert pin_checkpoint("memory://models/xlm").content_hash != pinned.content_hash


def test_what_was_seen_before_is_not_read_again(store: str, shelf: Shelf):
    first = pin_checkpoint(store)
    shelf.bodies.clear()
    assert pin_checkpoint(store) == first
    assert not shelf.bodies
    shelf.replace("xlm/merges.txt", shelf.files["xlm/merges.txt"].swapcase())  # the same size
    assert pin_checkpoint(store).content_hash != first.content_hash


def test_many_processes_fetch_once(store: str, shelf: Shelf, cache: Path):
    pinned = pin_checkpoint(store)
    forget(cache)
    shelf.bodies.clear()
    found = in_processes([(local_checkpoint, pinned)] * 8)
    assert found == [cache / "checkpoints" / pinned.content_hash] * 8
    assert shelf.bodies == Counter(f"xlm/{name}" for name in FILES)
    assert content_hash(found[0]) == pinned.content_hash


def test_many_drivers_fetch_once(store: str, shelf: Shelf, checkpoint: Path):
    found = in_processes([(pin_checkpoint, store)] * 4)
    assert {pinned.content_hash for pinned in found} == {content_hash(checkpoint)}
    assert shelf.bodies == Counter(f"xlm/{name}" for name in FILES)


def test_a_killed_download_counts_for_nothing(store: str, shelf: Shelf, cache: Path):
    pinned = pin_checkpoint(store)
    forget(cache)
    shelf.stalled = "xlm/model.safetensors"
    queue = FORKS.Queue()
    victim = FORKS.Process(target=answer, args=(queue, dict(os.environ), local_checkpoint, pinned))
    victim.start()
    assert shelf.half_sent.wait(30)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    (left,) = (cache / "incoming").iterdir()
    assert "model.safetensors" in names(left)
    assert names(cache / "checkpoints") == set()

    shelf.stalled = None
    shelf.go_on.set()
    assert content_hash(in_process(local_checkpoint, pinned)) == pinned.content_hash
    assert names(cache / "incoming") == set()


def test_leftovers_of_another_url_go_too_but_not_a_download_under_way(store: str, shelf: Shelf, cache: Path):
    shelf.files |= {name.replace("xlm/", "other/"): data for name, data in shelf.files.items()}
    shelf.modified |= dict.fromkeys(shelf.files, 0)
    shelf.stalled = "other/model.safetensors"
    queue = FORKS.Queue()
    slow = FORKS.Process(target=answer, args=(queue, dict(os.environ), pin_checkpoint, "s3://bucket/other"))
    slow.start()
    assert shelf.half_sent.wait(30)
    under_way = names(cache / "incoming")
    (cache / "incoming" / "dead").mkdir()
    pinned = pin_checkpoint(store)
    assert names(cache / "incoming") == under_way
    shelf.go_on.set()
    assert queue.get(timeout=30).content_hash == pinned.content_hash
    slow.join()
    assert names(cache / "incoming") == set()
    assert names(cache / "checkpoints") == {pinned.content_hash}


def test_a_checkpoint_that_changes_under_a_running_job_stops_it(store: str, shelf: Shelf, cache: Path):
    pinned = pin_checkpoint(store)
    forget(cache)
    shelf.replace("xlm/merges.txt", shelf.files["xlm/merges.txt"] + b"e r 0\n")
    with pytest.raises(FatalError, match=rf"s3://bucket/xlm: changed while .* {pinned.content_hash[:12]}"):
        local_checkpoint(pinned)
    assert names(cache / "checkpoints") == set()


def test_a_checkpoint_that_changes_while_it_is_read_is_refused(store: str, shelf: Shelf, cache: Path):
    shelf.stalled = "xlm/model.safetensors"
    queue = FORKS.Queue()
    reader = FORKS.Process(target=answer, args=(queue, dict(os.environ), pin_checkpoint, store))
    reader.start()
    assert shelf.half_sent.wait(30)
    shelf.replace("xlm/config.json", shelf.files["xlm/config.json"] + b"\n")
    shelf.go_on.set()
    error = queue.get(timeout=30)
    reader.join()
    assert isinstance(error, RetryableError)
    assert "changed while it was read" in str(error)
    assert names(cache / "checkpoints") == set()


def test_a_connection_that_breaks_off_is_tried_again(store: str, shelf: Shelf, checkpoint: Path):
    shelf.broken["xlm/model.safetensors"] = 1
    assert pin_checkpoint(store).content_hash == content_hash(checkpoint)
    assert shelf.bodies["xlm/model.safetensors"] == 2


class PoorStore(MemoryFileSystem):
    """A store whose client shows listings that it saw before, and ends files half-way as often as `cuts` says."""

    protocol = "poor"
    cuts = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("poor://", "memory://"))

    def find(self, path, **options):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().find(path, **options)
        return self.dircache[path]

    def info(self, path, **options):
        path = self._strip_protocol(path)
        return self.dircache.get(self._parent(path), {}).get(path) or super().info(path, **options)

    def invalidate_cache(self, path=None):
        self.dircache.clear()

    def _open(self, path, mode="rb", **options):
        file = super()._open(path, mode, **options)
        if mode != "rb" or not path.endswith(".safetensors") or not PoorStore.cuts:
            return file
        PoorStore.cuts -= 1
        return MemoryFile(self, path, file.getvalue()[: len(file.getvalue()) // 2])


@pytest.fixture
def poor_store(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    fsspec.register_implementation("poor", PoorStore, clobber=True)
    monkeypatch.setattr(PoorStore, "cuts", 0)
    for name, data in files.items():
        fsspec.filesystem("memory").pipe_file(f"/poor/xlm/{name}", data)
    return "poor://poor/xlm"


def test_a_file_cut_short_is_read_again(poor_store: str, checkpoint: Path):
    PoorStore.cuts = 3
    assert pin_checkpoint(poor_store).content_hash == content_hash(checkpoint)
    assert PoorStore.cuts == 0


def test_a_file_that_is_always_cut_short_is_an_error_to_retry(poor_store: str, cache: Path):
    PoorStore.cuts = 100
    with pytest.raises(RetryableError, match=r"poor/xlm/model.safetensors: broke off, got [\d,]+ of [\d,]+ bytes"):
        pin_checkpoint(poor_store)
    assert names(cache / "checkpoints") == names(cache / "incoming") == set()


def test_a_client_that_remembers_listings_hides_no_change(poor_store: str, files: dict[str, bytes]):
    before = pin_checkpoint(poor_store)
    fsspec.filesystem("memory").pipe_file("/poor/xlm/merges.txt", files["merges.txt"] + b"e r 0\n")
    assert pin_checkpoint(poor_store).content_hash != before.content_hash


def test_a_file_that_went_is_named(store: str, shelf: Shelf, cache: Path):
    pinned = pin_checkpoint(store)
    forget(cache)
    del shelf.files["xlm/vocab.json"]
    with pytest.raises(FatalError, match=r"s3://bucket/xlm/vocab.json: no such file"):
        local_checkpoint(pinned)


@pytest.mark.parametrize("url", ["s3://bucket/nothing", "s3://bucket/xlm/config.json"])
def test_what_is_no_directory_is_named(store: str, url: str):
    with pytest.raises(FatalError, match=rf"{url}: .*name the directory"):
        pin_checkpoint(url)


def test_a_directory_that_is_no_checkpoint_is_named_by_its_url(store: str, shelf: Shelf):
    del shelf.files["xlm/model.safetensors"], shelf.files["xlm/pytorch_model.bin"]
    with pytest.raises(CheckpointError, match=r"^s3://bucket/xlm: "):
        pin_checkpoint(store)


def test_errors_name_what_people_named(store: str):
    directory = local_checkpoint(pin_checkpoint(store))
    with pytest.raises(CheckpointError, match=r"^s3://bucket/xlm/model.safetensors: "), named_as(store, directory):
        check_checkpoint(directory, "sequence-classification")


def test_no_access_is_for_a_person_to_mend(store: str, shelf: Shelf):
    shelf.denied = True
    with pytest.raises(FatalError, match=r"s3://bucket/xlm: access is denied .*credentials"):
        pin_checkpoint(store)


def pin_with_small_files(url: str, limit: int) -> PinnedCheckpoint:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a disk that takes no more
    return pin_checkpoint(url)


def test_a_full_disk_is_named(store: str, cache: Path):
    error = in_process(pin_with_small_files, store, 50_000)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{cache}: cannot be written (File too large)")
    assert "XLM_CACHE" in str(error)
    assert names(cache / "incoming") == set()


def test_a_cache_that_cannot_be_made_is_named(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLM_CACHE", "/proc/nothing/can/be/made/here")
    with pytest.raises(FatalError, match=r"/proc/nothing/can/be/made/here: cannot be written .*XLM_CACHE"):
        pin_checkpoint(store)


# a model hub


def test_a_hub_gives_what_the_directory_gives(hub: dict[str, str], hub_shelf: Shelf, checkpoint: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    assert pinned.content_hash == content_hash(checkpoint)
    assert pinned.revision == commit_of(hub_shelf)
    directory = in_process(local_checkpoint, pinned, **hub)
    assert names(directory) == FILES
    assert hub_shelf.bodies == Counter(FILES)
    assert hub_shelf.listings == 1


def pin_at_terminal(terminal: str, url: str) -> PinnedCheckpoint:
    handle = os.open(terminal, os.O_WRONLY | os.O_NOCTTY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    return pin_checkpoint(url)


def test_a_hub_draws_nothing_on_the_terminal(hub: dict[str, str]):
    ours, theirs = os.openpty()
    in_process(pin_at_terminal, os.ttyname(theirs), "hf://org/name", **hub)
    shown, _, _ = select.select([ours], [], [], 0)
    assert not shown, os.read(ours, 10_000)
    os.close(ours)
    os.close(theirs)


def test_a_hubs_checkpoint_takes_its_space_once(hub: dict[str, str], tmp_path: Path):
    directory = in_process(local_checkpoint, in_process(pin_checkpoint, "hf://org/name", **hub), **hub)
    (blob,) = (tmp_path / "hub").rglob("model.safetensors")
    assert (directory / "model.safetensors").samefile(blob)


def test_a_hubs_cache_may_lie_on_another_disk(hub: dict[str, str], cache: Path, checkpoint: Path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == cache.parent.stat().st_dev:
            pytest.skip("needs two file systems")
        pinned = in_process(pin_checkpoint, "hf://org/name", **hub | {"HF_HOME": other})
    assert content_hash(local_checkpoint(pinned)) == content_hash(checkpoint)


def test_workers_get_the_pinned_commit_though_main_moves_on(
    hub: dict[str, str], hub_shelf: Shelf, cache: Path, tmp_path: Path
):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    hub_shelf.replace("merges.txt", hub_shelf.files["merges.txt"] + b"e r 0\n")
    forget(cache)
    found = in_process(local_checkpoint, pinned, **hub)  # of the hub's own cache
    assert content_hash(found) == pinned.content_hash
    newer = in_process(pin_checkpoint, "hf://org/name", **hub)
    assert newer.revision != pinned.revision
    assert newer.content_hash != pinned.content_hash
    assert in_process(pin_checkpoint, f"hf://org/name@{pinned.revision}", **hub).content_hash == pinned.content_hash


def test_many_processes_fetch_once_from_a_hub(hub: dict[str, str], hub_shelf: Shelf, cache: Path, tmp_path: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    forget(cache)
    forget(tmp_path / "hub")
    hub_shelf.bodies.clear()
    assert in_processes([(local_checkpoint, pinned)] * 4, hub) == [cache / "checkpoints" / pinned.content_hash] * 4
    assert hub_shelf.bodies == Counter(FILES)


def test_the_hubs_cache_serves_offline(hub: dict[str, str], cache: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    forget(cache)
    assert in_process(pin_checkpoint, "hf://org/name", **hub, HF_HUB_OFFLINE="1") == pinned
    forget(cache)
    assert names(in_process(local_checkpoint, pinned, **hub, HF_HUB_OFFLINE="1")) == FILES


def test_a_hub_out_of_reach_stops_no_job_that_ran_before(hub: dict[str, str], cache: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    nowhere = hub | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert in_process(pin_checkpoint, "hf://org/name", **nowhere) == pinned
    forget(cache)
    assert names(in_process(local_checkpoint, pinned, **nowhere)) == FILES


def test_offline_without_the_weights_is_an_error(hub: dict[str, str], cache: Path, tmp_path: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    forget(cache)
    (weights,) = (tmp_path / "hub").rglob("model.safetensors")
    weights.unlink()
    for function, argument in ((pin_checkpoint, "hf://org/name"), (local_checkpoint, pinned)):
        error = in_process(function, argument, **hub, HF_HUB_OFFLINE="1")
        assert isinstance(error, FatalError)
        assert "HF_HUB_OFFLINE" in str(error)


def test_our_cache_outlives_the_hubs(hub: dict[str, str], tmp_path: Path):
    pinned = in_process(pin_checkpoint, "hf://org/name", **hub)
    forget(tmp_path / "hub")
    found = in_process(local_checkpoint, pinned, **hub, HF_HUB_OFFLINE="1")
    assert content_hash(found) == pinned.content_hash


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hf://org/nothing", "no such repository"),
        ("hf://org/name@nothing", "no such revision"),
        ("hf://name", "no such form"),
        ("hf://org/name/weights", "no such form"),
        ("hf://org/na--me", "no such form"),
    ],
)
def test_what_a_hub_does_not_have_is_named(hub: dict[str, str], url: str, says: str):
    error = in_process(pin_checkpoint, url, **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{url}: ")
    assert says in str(error)


def test_a_repository_without_a_model_is_named(hub: dict[str, str], hub_shelf: Shelf):
    del hub_shelf.files["config.json"]
    error = in_process(pin_checkpoint, "hf://org/name", **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith("hf://org/name: has no such file")


def pin_without_package(url: str) -> PinnedCheckpoint:
    import sys

    sys.modules["huggingface_hub"] = None  # what an import then meets is what it meets where there is no package
    return pin_checkpoint(url)


def test_a_hub_without_its_package_names_the_extra(hub: dict[str, str]):
    error = in_process(pin_without_package, "hf://org/name", **hub)
    assert isinstance(error, FatalError)
    assert "pip install 'xlm-batch[hub]'" in str(error)


def test_a_server_that_is_no_hub_is_named(store: str, hub: dict[str, str]):
    error = in_process(pin_checkpoint, "hf://org/name", **hub | {"HF_ENDPOINT": os.environ["AWS_ENDPOINT_URL"]})
    assert isinstance(error, FatalError)
    assert str(error).startswith("hf://org/name: refused (Client error '404 Not Found'")
    assert "HF_ENDPOINT" in str(error)


def test_a_network_that_wants_a_login_first_is_an_error_to_retry(hub: dict[str, str], hub_shelf: Shelf):
    hub_shelf.portal = True
    error = in_process(pin_checkpoint, "hf://org/name", **hub)
    assert isinstance(error, RetryableError)
    assert str(error).startswith("hf://org/name: the hub is out of reach, and its cache does not hold this")


def test_a_hub_that_breaks_off_is_tried_again(hub: dict[str, str], hub_shelf: Shelf, checkpoint: Path):
    hub_shelf.broken["model.safetensors"] = 1
    assert in_process(pin_checkpoint, "hf://org/name", **hub).content_hash == content_hash(checkpoint)
    assert hub_shelf.bodies["model.safetensors"] == 2


def test_a_full_disk_under_the_hubs_cache_is_named(hub: dict[str, str], tmp_path: Path):
    error = in_process(pin_with_small_files, "hf://org/name", 50_000, **hub)
    assert isinstance(error, FatalError)
    assert str(error).startswith(f"{tmp_path}/hub/hub: cannot be written (File too large)")
    assert "HF_HOME" in str(error)
