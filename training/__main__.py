"""Train the bundled weights, or go on training them."""

import argparse
from pathlib import Path

import torch

from deblur_cli.errors import DeblurError
from deblur_cli.model import RestormerConfig
from training import validation
from training.loop import Minutes, plot, run
from training.photos import read_photos
from training.trainer import Settings, Stage, Trainer


def stages(text: str) -> tuple[Stage, ...]:
    """`0:64x16,4000:96x7`: from step 0 on batches of 16 patches of 64 pixels, from step 4000 on 7 of 96."""
    return tuple(
        Stage(*(int(number) for number in part.replace("x", ":").split(":"))) for part in text.split(",")
    )


def blocks(text: str) -> tuple[int, ...]:
    """`1,2,2,4`: transformer blocks of the four levels."""
    return tuple(int(number) for number in text.split(","))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, with sub-folders")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; if it holds a state, that goes on"
    )
    parser.add_argument("--minutes", type=float, default=Minutes.total, help="of work, cooldown included")
    parser.add_argument(
        "--cooldown", type=float, default=Minutes.cooldown, help="share of the minutes; 1 for nothing else"
    )
    parser.add_argument("--between-checks", type=float, default=Minutes.between_checks, help="minutes")
    parser.add_argument("--stages", type=stages, default=Settings.stages, help="START:PATCHxBATCH,...")
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate)
    parser.add_argument(
        "--pixels",
        choices=("charbonnier", "rms"),
        default=Settings.pixels,
        help="how the loss counts their errors",
    )
    parser.add_argument(
        "--harm", type=float, default=Settings.harm, help="price of being worse than the input"
    )
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--blocks", type=blocks, default=(1, 2, 2, 4))
    parser.add_argument(
        "--unshuffle", type=int, default=1, help="2: the network works at half the photo's size"
    )
    parser.add_argument("--weights", type=Path, help="start from this checkpoint when there is no state")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    try:
        train(args)
    except DeblurError as error:
        parser.exit(1, f"{error}\n")


def train(args: argparse.Namespace) -> None:
    """What the command does with its options."""
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    photos, held_out = read_photos(args.photos)
    config = RestormerConfig(
        dim=args.dim, num_blocks=args.blocks, num_refinement_blocks=1, unshuffle=args.unshuffle
    )
    settings = Settings(args.stages, args.learning_rate, pixels=args.pixels, harm=args.harm)
    trainer = Trainer(config, settings, photos.to(device), device)
    if trainer.load_state(args.out / "state"):
        print(f"going on from step {trainer.step}")
    elif args.weights:
        trainer.load_weights(args.weights)
    print(
        f"{len(photos.sharp)} photos to train with, {len(held_out.sharp)} held out, on {device}"
        + (" with fast blocks" if trainer.fast else ""),
        flush=True,
    )
    minutes = Minutes(args.minutes, args.cooldown, between_checks=args.between_checks)
    rows = run(trainer, validation.make_cases(held_out), args.out, minutes)
    print((args.out / "validation.md").read_text(encoding="utf-8"))
    print(
        f"step {trainer.step}: {validation.mean_gain(rows):+.2f} dB, sharp photos kept to {validation.kept_sharp(rows):.1f} dB"
    )
    try:
        plot(args.out / "log.csv")
    except ImportError:
        print("no picture of log.csv: install matplotlib for it")


if __name__ == "__main__":
    main()
