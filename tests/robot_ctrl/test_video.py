"""Videos: what was put in comes out, in a form that browsers play."""

import av
import numpy as np
import pytest

from robot_ctrl.video import VideoWriter, with_caption, write_video


def decoded(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return frames, container.streams.video[0]


def moving_bar(count, height=96, width=128):
    for index in range(count):
        frame = np.full((height, width, 3), (30, 120, 200), np.uint8)
        frame[:, 4 * index : 4 * index + 16] = (230, 40, 60)
        yield frame


def test_a_video_decodes_to_its_frames(tmp_path):
    path = tmp_path / "episode.mp4"
    write_video(moving_bar(20), path, 25)
    frames, stream = decoded(path)
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert stream.average_rate == 25
    assert len(frames) == 20
    for expected, frame in zip(moving_bar(20), frames, strict=True):
        assert frame.shape == expected.shape
        assert np.abs(frame[:, 70:].astype(int) - expected[:, 70:]).mean() < 6
    assert list(tmp_path.iterdir()) == [path]


def test_colours_survive(tmp_path):
    for colour in [(200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128)]:
        write_video([np.full((64, 64, 3), colour, np.uint8)] * 3, tmp_path / "c.mp4", 10)
        with av.open(str(tmp_path / "c.mp4")) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
            picture = next(container.decode(video=0))
            frame = picture.to_ndarray(format="rgb24", src_colorspace="ITU709")
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(0), colour, atol=4)


def test_the_index_is_at_the_front(tmp_path):
    write_video(moving_bar(5), tmp_path / "e.mp4", 25)
    data = (tmp_path / "e.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("size", [(65, 47), (64, 47), (65, 48)])
def test_odd_sizes_are_padded(tmp_path, size):
    width, height = size
    write_video([np.full((height, width, 3), 90, np.uint8)] * 3, tmp_path / "e.mp4", 12.5)
    frames, stream = decoded(tmp_path / "e.mp4")
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    assert stream.average_rate == 12.5
    assert np.abs(frames[0].astype(int) - 90).max() <= 4


def test_a_failure_leaves_the_old_video_alone(tmp_path):
    path = tmp_path / "e.mp4"
    path.write_bytes(b"old")

    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(frames(), path, 25)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_a_video_is_refused(tmp_path):
    path = tmp_path / "e.mp4"
    with pytest.raises(ValueError, match="at least one frame"):
        write_video([], path, 25)
    with pytest.raises(ValueError, match="above 0"):
        VideoWriter(path, 0, (32, 32))
    with pytest.raises(ValueError, match=r"frame 1 has shape \(32, 34, 3\).*\(32, 32, 3\)"):
        write_video([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)], path, 25)
    with pytest.raises(ValueError, match="float64"):
        write_video([np.zeros((32, 32, 3))], path, 25)
    with pytest.raises(ValueError, match="at least one frame"), VideoWriter(path, 25, (32, 32)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(360, 480, 3), (64, 64, 3), (720, 1280, 3), (8, 8, 3)])
def test_a_caption_is_legible_and_stays_in_its_strip(shape):
    frame = np.full(shape, 180, np.uint8)
    captioned = with_caption(frame, "episode 12   step 340   return 611.2")
    assert captioned.shape == shape
    assert (frame == 180).all()
    changed = np.flatnonzero((captioned != 180).any(axis=(1, 2)))
    assert changed.min() > shape[0] * 0.5 or shape[0] < 20
    if shape[0] > 20:
        strip = captioned[changed.min() :]
        assert strip.max() > 150 > 80 > strip.min()
        assert (strip[:, -2:] < 100).all()
