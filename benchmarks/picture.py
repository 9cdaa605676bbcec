"""The picture at the top of the README, from a finished arm-reach run.

make demo && python benchmarks/picture.py demo        writes docs/images/arm-reach.png
"""

import argparse
import csv
import json
from pathlib import Path

import av
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

PERIOD = 0.05
EPISODE = 50
FRAMES = (0, 8, 49, 50, 60, 99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with av.open(str(run / "episode.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24")[:-30] for frame in video.decode(video=0)]
    figure = pyplot.figure(figsize=(12, 5.4))
    grid = figure.add_gridspec(2, len(FRAMES), height_ratios=(1, 1.35), hspace=0.12, wspace=0.02)
    for column, index in enumerate(FRAMES):
        axis = figure.add_subplot(grid[0, column])
        axis.imshow(frames[index])
        axis.set_title(f"target {1 + index // EPISODE}, {index % EPISODE * PERIOD:.1f} s", fontsize=9)
        axis.axis("off")
    axis = figure.add_subplot(grid[1, :])
    seconds = [int(row["env_steps"]) * PERIOD for row in rows]
    distances = [-float(row["return"]) / EPISODE * 100 for row in rows]
    planned = [bool(row["plan_ms_p50"]) for row in rows]
    for learned, colour, label in ((False, "#9aa5b1", "random commands"), (True, "#2f6fde", "replanning through it")):
        chosen = [(x, y) for x, y, known in zip(seconds, distances, planned, strict=True) if known is learned]
        axis.bar(*zip(*chosen, strict=True), width=2.0, color=colour, label=label)
    axis.set_xlabel("experience of the robot, s (an episode each; it starts with no model at all)")
    axis.set_ylabel("distance to the target,\nmean over the episode, cm")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    summary = json.loads((run / "summary.json").read_text())
    figure.subplots_adjust(top=0.9)
    figure.suptitle(
        f"A six-joint arm learns its dynamics and reaches: {sum(planned)} planned episodes, "
        f"{summary['success_rate']:.0%} end within 2 cm"
    )
    picture = Path(__file__).parent.parent / "docs" / "images" / "arm-reach.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
