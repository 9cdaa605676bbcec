import gc
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from dots import SPEC, wander

from models.image.frame_file import on_disk
from models.image.frames import FrameSequences, ImageSpec


def numbered(*lengths: int) -> FrameSequences:
    """Episodes of these lengths whose n-th frame in all shows the number n."""
    total = sum(lengths)
    frames = torch.arange(total, dtype=torch.uint8).view(-1, 1, 1, 1)
    episodes = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return FrameSequences(frames, torch.zeros(total, 0), torch.zeros(total, 1), None, episodes)


def test_transitions_do_not_cross_episodes() -> None:
    assert len(numbered(4, 3)) == 5


def test_transitions_lead_from_state_to_state_with_the_reward_of_arriving() -> None:
    data = replace(numbered(3, 2), actions=torch.arange(5.0).unsqueeze(-1), rewards=10 * torch.arange(5.0))
    made = data.transitions(torch.arange(5.0).unsqueeze(-1) + 100)
    assert made.states.squeeze(-1).tolist() == [100, 101, 103]
    assert made.next_states.squeeze(-1).tolist() == [101, 102, 104]
    assert made.actions.squeeze(-1).tolist() == [0, 1, 3]
    assert made.rewards is not None
    assert made.rewards.tolist() == [10, 20, 40]
    assert made.episodes.tolist() == [0, 0, 1]


def test_windows_stay_within_an_episode() -> None:
    assert numbered(4, 3, 1).windows(3).tolist() == [0, 1, 4]
    assert numbered(2, 1).windows(3).tolist() == []


def test_stacks_repeat_the_first_frame_of_an_episode() -> None:
    data = numbered(3, 3)
    stacks = data.stacks(torch.tensor([0, 2, 3, 4]), 3)[:, :, 0, 0, 0]
    assert stacks.tolist() == [[0, 0, 0], [0, 1, 2], [3, 3, 3], [3, 3, 4]]


def test_recordings_are_joined_and_compared() -> None:
    whole, _ = wander(2, 3, seed=0)
    again = FrameSequences.concatenate([whole, whole])
    assert len(again.frames) == 2 * len(whole.frames)
    assert whole.is_prefix_of(again)
    assert not again.is_prefix_of(whole)


def test_joined_frames_are_on_disk_and_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = wander(2, 3, seed=0)[0], wander(1, 4, seed=1)[0]
    joined = FrameSequences.concatenate([first, replace(second, episodes=second.episodes + 2)])
    rows = torch.randint(len(joined.frames), (50,), generator=torch.Generator().manual_seed(0))
    in_memory = replace(joined, frames=torch.cat([first.frames, second.frames]))
    assert torch.equal(joined.stacks(rows, 3), in_memory.stacks(rows, 3))
    assert list(tmp_path.iterdir()) == []
    mapped = Path("/proc/self/maps").read_text()
    assert str(tmp_path) in mapped
    del joined
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_no_frames_can_be_joined() -> None:
    assert len(on_disk([torch.zeros(0, 1, 4, 4, dtype=torch.uint8)] * 2)) == 0


def test_grey_is_what_the_eye_sees() -> None:
    spec = ImageSpec("camera", 1, 3, action_size=1)
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert spec.frame(pixels)[0, 0].tolist() == [76, 149, 28]
    colour = ImageSpec("camera", 1, 3, action_size=1, colour=True)
    assert torch.equal(colour.frame(pixels)[:, 0], torch.eye(3).mul(255).to(torch.uint8))


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\); the model was made for \(16, 16, 3\)"):
        SPEC.frame(np.zeros((8, 8, 3), np.uint8))


def test_proprioception_is_gathered_in_order() -> None:
    spec = ImageSpec("camera", 2, 2, action_size=1, proprioception=(("b", 2), ("a", 1)))
    seen = {"camera": np.zeros((2, 2, 3), np.uint8), "a": np.array(3.0), "b": np.array([1.0, 2.0])}
    assert spec.see(seen)[1].tolist() == [1.0, 2.0, 3.0]
