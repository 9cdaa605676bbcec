from pathlib import Path

import pytest
import torch

from robot_ctrl.config import check_config
from robot_ctrl.errors import RunError
from robot_ctrl.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(check_config({"task": {"name": "x"}, "run_dir": tmp_path / "run"}, "test"))


def test_a_run_is_never_replaced_unasked(folder: RunFolder, tmp_path: Path) -> None:
    config = check_config({"task": {"name": "y"}, "run_dir": folder.path}, "test")
    with pytest.raises(RunError, match="already holds a run"):
        RunFolder.create(config)
    RunFolder.create(config.model_copy(update={"overwrite": True}))
    assert RunFolder.open(folder.path)[1].task == {"name": "y"}


def test_a_folder_that_is_no_run_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    config = check_config({"task": {"name": "x"}, "run_dir": tmp_path, "overwrite": True}, "test")
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder.create(config)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_the_newest_whole_checkpoint_is_loaded(folder: RunFolder) -> None:
    assert folder.load_checkpoint() is None
    for episode in range(4):
        folder.save_checkpoint(episode, {"weights": torch.full((2,), float(episode))})
    assert len(list(folder.checkpoints.iterdir())) == 2
    newest = folder.checkpoints / "episode_00003.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    content = folder.load_checkpoint()
    assert content is not None
    assert content["episode"] == 2
    assert content["weights"].tolist() == [2.0, 2.0]


def test_a_checkpoint_of_another_version_is_named(folder: RunFolder) -> None:
    folder.save_checkpoint(0, {})
    path = folder.checkpoints / "episode_00000.pt"
    torch.save({**torch.load(path, weights_only=True), "version": 99}, path)
    with pytest.raises(RunError, match="version 99"):
        folder.load_checkpoint()


def test_metrics_survive_a_round_trip(folder: RunFolder) -> None:
    folder.write_metrics([{"episode": 0, "return": 1.5, "success": None}, {"episode": 1, "return": -2.0, "success": 1}])
    assert folder.read_metrics() == [
        {"episode": "0", "return": "1.5", "success": ""},
        {"episode": "1", "return": "-2", "success": "1"},
    ]


def test_attempts_that_were_cut_off_are_kept(folder: RunFolder) -> None:
    for attempt in range(2):
        folder.episode_path(7).write_text(f"attempt {attempt}")
        folder.set_aside(7)
    assert [path.read_text() for path in folder.unfinished_attempts(7)] == ["attempt 0", "attempt 1"]
    assert not folder.episode_path(7).exists()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no config\.yaml"):
        RunFolder.open(tmp_path)


def test_one_process_writes_to_a_run(folder: RunFolder) -> None:
    with folder.held(), pytest.raises(RunError, match="another process"), RunFolder(folder.path).held():
        pass
    config = check_config({"task": {"name": "x"}, "run_dir": folder.path, "overwrite": True}, "test")
    with folder.held(), pytest.raises(RunError, match="another process"):
        RunFolder.create(config)
    RunFolder.create(config)
