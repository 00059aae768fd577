"""The files of Ray's cluster launcher, checked with Ray's own schema."""

from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).parents[2] / "infra" / "ray"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def config(request):
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def test_files_exist():
    assert [path.stem for path in FILES] == ["aws", "gcp"]


def test_ray_accepts_the_file(config):
    validate_config(prepare_config(config))


def test_ray_refuses_a_misspelled_setting(config):
    config["max_worker"] = config.pop("max_workers")
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(config))


def test_head_runs_only_the_driver_and_workers_may_be_lost(config):
    types = config["available_node_types"]
    assert set(types) == {"head", "cpu", "gpu"}
    assert config["head_node_type"] == "head"
    assert types["head"]["resources"] == {"CPU": 0}
    assert "GPU" not in types["cpu"]["resources"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert config["max_workers"] == types["cpu"]["max_workers"] + types["gpu"]["max_workers"]
    is_spot = {name: "spot" in yaml.safe_dump(node["node_config"]).lower() for name, node in types.items()}
    assert is_spot == {"head": False, "cpu": True, "gpu": True}


def test_nothing_of_rays_defaults_is_installed(config):
    prepared = prepare_config(config)
    assert prepared["setup_commands"] == prepared["worker_setup_commands"] == []
    assert not [command for command in prepared["head_setup_commands"] if "ray" in command]


def test_clusters_need_a_token(config):
    assert config["file_mounts"] == {"/home/xlm/.ray/auth_token": "~/.ray/auth_token"}
    starts = [config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]]
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
