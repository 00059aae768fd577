"""Event files of TensorBoard have all points of the curves."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.errors import FatalError
from pipelines.train.reporting.scalars import list_scalars
from pipelines.train.reporting.tensorboard import check_tensorboard, event_file_name, event_files
from tests.pipelines.train.reporting.example_training import make_history


def test_scalars_are_the_points_of_the_curves():
    scalars = list_scalars(make_history(400, points=2))
    assert len(scalars) == 200 * 4 + 4 * 2  # loss, norm, rate and speed; loss and accuracy
    assert [s.step for s in scalars] == sorted(s.step for s in scalars)
    dev = [s for s in scalars if s.run == "dev" and s.name == "accuracy/upos"]
    assert [(s.step, s.value) for s in dev] == [(100, 0.1), (200, 0.2), (300, 0.3), (400, 0.4)]
    assert [s.time_s - 1_764_460_000 for s in dev] == [50, 100, 150, 200]


def test_tensorboard_reads_the_event_files(tmp_path: Path):
    scalars = list_scalars(make_history(120))
    for run, content in event_files(scalars).items():
        (tmp_path / run).mkdir()
        (tmp_path / run / event_file_name(120)).write_bytes(content)
        events = EventAccumulator(str(tmp_path / run))
        events.Reload()
        names = events.Tags()["scalars"]
        found = {(name, event.step, event.wall_time) for name in names for event in events.Scalars(name)}
        assert found == {(s.name, s.step, s.time_s) for s in scalars if s.run == run}


def test_missing_package_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(FatalError, match=r"pip install 'xlm-batch\[tensorboard\]'"):
        check_tensorboard()
