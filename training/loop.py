"""A run: a trunk at a constant rate and on easy pairs that can be cut and continued at any time, and a cooldown that branches off it.

`run` trains the trunk for most of its minutes and saves it; then it lets the learning rate fall to zero over the rest, on pairs
as users have them, writes the weights of that, and forgets the cooled state. The next run continues from the trunk, as if it had never stopped.
"""

import csv
import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from training import validation
from training.pairs import EASY, FULL
from training.trainer import Trainer

HEADER = ("step", "minutes", "phase", "patch", "loss", "gradient", "ms_per_step", "gain_db", "sharp_db")
LINE_S = 30


@dataclass(frozen=True)
class Minutes:
    """How long to train, in minutes of work; the last `cooldown` (a share) of them are the cooldown."""

    total: float = 60
    cooldown: float = 0.15
    between_saves: float = 5
    between_checks: float = 15


class Stopwatch:
    """Seconds of work. A step far longer than usual means that the process was stopped meanwhile (SIGSTOP): it counts as five."""

    def __init__(self) -> None:
        self.seconds, self.usual, self.started = 0.0, math.inf, time.monotonic()

    def start(self) -> None:
        """A step begins."""
        self.started = time.monotonic()

    def stop(self) -> float:
        """It ends; returns the seconds it counts for."""
        took = min(time.monotonic() - self.started, 5 * self.usual)
        self.usual = took if self.usual == math.inf else 0.95 * self.usual + 0.05 * took
        self.seconds += took
        return took


class StopRequest:
    """Ctrl-C or SIGTERM: the step is finished and the state saved."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def run(
    trainer: Trainer, cases: list[validation.Case], folder: Path, minutes: Minutes
) -> list[validation.Row]:
    """Trains, cools down, writes state/, compact.safetensors, validation.md and log.csv into `folder`; returns the last validation.

    After a stop request it writes the state and the weights as they are, without a cooldown.
    """
    unsharp = validation.best_unsharp(cases)
    watch, request = Stopwatch(), StopRequest()
    end, trunk_end = 60 * minutes.total, 60 * minutes.total * (1 - minutes.cooldown)
    line_due, save_due, check_due = 0.0, 60 * minutes.between_saves, 60 * minutes.between_checks
    loss, gain, sharp = math.nan, math.nan, math.nan
    cooling = False
    torch.get_num_threads()  # settles the number of this thread, before the helper sets its own
    # The helper makes the next batch meanwhile: with a single thread, since two teams on the same cores hinder each other.
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as helper:
        ahead = helper.submit(trainer.batch, trainer.step, EASY)
        while watch.seconds < end and not request.asked:
            watch.start()
            if not cooling and watch.seconds >= trunk_end:
                trainer.save_state(folder / "state")
                cooling = True
            blurry, photo = ahead.result()
            ahead = helper.submit(trainer.batch, trainer.step + 1, FULL if cooling else EASY)
            rate = (end - watch.seconds) / (end - trunk_end) if cooling else 1.0
            new_loss = trainer.train_step(blurry, photo, rate)
            trainer.seconds += watch.stop()
            loss = new_loss if math.isnan(loss) else 0.99 * loss + 0.01 * new_loss
            if watch.seconds >= save_due and not cooling:
                trainer.save_state(folder / "state")
                save_due += 60 * minutes.between_saves
            if watch.seconds >= check_due:
                rows = _check(trainer, cases, unsharp, folder)
                gain, sharp = validation.mean_gain(rows), validation.kept_sharp(rows)
                check_due += 60 * minutes.between_checks
            if watch.seconds >= line_due:
                line_due = watch.seconds + LINE_S
                phase, patch = (
                    "cooldown" if cooling else "trunk",
                    trainer.settings.stage(trainer.step - 1).patch,
                )
                print(
                    f"step {trainer.step}  {phase} {patch} px  loss {loss:.4f}  {1000 * watch.usual:.0f} ms/step  "
                    f"gain {gain:+.2f} dB  sharp {sharp:.1f} dB  {(end - watch.seconds) / 60:.1f} min left",
                    flush=True,
                )
                numbers = (
                    trainer.step,
                    trainer.seconds / 60,
                    phase,
                    patch,
                    loss,
                    trainer.gradient,
                    1000 * watch.usual,
                    gain,
                    sharp,
                )
                _log(folder / "log.csv", numbers)
        ahead.cancel()
    if not cooling:
        trainer.save_state(folder / "state")
    return _check(trainer, cases, unsharp, folder)


def _check(
    trainer: Trainer, cases: list[validation.Case], unsharp: tuple[float, float], folder: Path
) -> list[validation.Row]:
    """Validates, and keeps the weights with what they are worth."""
    rows = trainer.validate(cases, unsharp)
    trainer.save_weights(folder / "compact.safetensors")
    (folder / "validation.md").write_text(
        f"Step {trainer.step}.\n\n{validation.table(rows, unsharp)}\n", encoding="utf-8"
    )
    return rows


def _log(path: Path, numbers: tuple[float | str, ...]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(HEADER)
        writer.writerow([f"{number:.5g}" if isinstance(number, float) else number for number in numbers])


def plot(log: Path) -> Path:
    """The picture of a log.csv, beside it: loss and gain against minutes of training. Needs matplotlib."""
    from matplotlib.figure import Figure

    with log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    minutes = [float(row["minutes"]) for row in rows]
    upper.plot(minutes, [float(row["loss"]) for row in rows])
    upper.set_ylabel("loss")
    lower.plot(minutes, [float(row["gain_db"]) for row in rows])
    lower.set(xlabel="minutes of training", ylabel="mean gain in PSNR (dB)")
    picture = log.with_suffix(".png")
    figure.savefig(picture)
    return picture
