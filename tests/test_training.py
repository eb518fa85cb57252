"""training/: its physics, its data and a few steps of it on made photos."""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import nn
from training import blur, cpu_blocks, degrade, loop, motion, pairs, paths, photos, validation
from training.dice import Dice
from training.muon import Muon, orthogonalise
from training.pages import page
from training.pairs import EASY, FULL
from training.photos import Photos
from training.trainer import Settings, Stage, Trainer, loss_of

from deblur_cli.errors import PhotoError, UsageError, WeightsError
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer, RestormerConfig

SMALL = RestormerConfig(dim=16, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)


def made_photo(seed: int, h: int = 320, w: int = 280) -> torch.Tensor:
    """Blocks of random colours: edges everywhere. (3, h, w) uint8."""
    colours = torch.randint(0, 256, (3, h // 8, w // 8), generator=torch.Generator().manual_seed(seed))
    return colours.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)


@pytest.fixture(scope="module")
def made() -> Photos:
    frames = [made_photo(9).roll(i, 2) for i in range(14)]
    return Photos({f"{i}.png": made_photo(i) for i in range(3)}, videos={"frames": frames})


def trainer(made: Photos, **changes: float) -> Trainer:
    settings = Settings(stages=(Stage(0, 32, 2), Stage(4, 48, 1)), warmup=1, **changes)  # type: ignore[arg-type]
    return Trainer(SMALL, settings, made, torch.device("cpu"))


def centroid(kernel: torch.Tensor) -> list[float]:
    axis = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    kernel = kernel.double()
    return [(kernel.sum(1) * axis).sum().item(), (kernel.sum(0) * axis).sum().item()]


@pytest.mark.parametrize(
    "make",
    [pairs.random_lens, pairs.random_gaussian, lambda d: blur.shake_kernel(pairs.random_shake(d, FULL))],
)
def test_kernels_sum_to_one_with_their_centroid_in_the_middle(make: Callable[[Dice], torch.Tensor]) -> None:
    for seed in range(12):
        kernel = make(Dice(seed))
        assert kernel.sum().item() == pytest.approx(1, abs=1e-4)
        assert centroid(kernel) == pytest.approx([0, 0], abs=0.02)


def test_a_shake_is_as_wide_as_asked() -> None:
    path = paths.random_path(Dice(3), 12.5)
    assert (path.amax(0) - path.amin(0)).max().item() == pytest.approx(12.5)


def test_a_lens_blur_has_the_area_of_its_disc() -> None:
    for blades in (0, 5, 8):
        kernel = blur.lens_kernel(5.0, blades, 0.3)
        assert 1 / kernel.max().item() == pytest.approx(math.pi * 25, rel=0.02)


def test_convolving_is_convolving() -> None:
    photo, kernel = torch.rand(1, 40, 44), torch.rand(5, 5)
    expected = F.conv2d(photo[None], kernel.flip(0, 1)[None, None], padding=2)[0]
    inside = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(blur.convolve(photo, kernel)[inside], expected[inside], atol=1e-4, rtol=0)


def test_a_roll_of_nothing_is_the_same_as_a_kernel() -> None:
    photo = blur.to_linear(made_photo(1).float() / 255)
    path = torch.tensor([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    varying = blur.shake_with_rotation(photo, path, torch.zeros(3), (0, 0))
    same = blur.convolve(photo, blur.shake_kernel(path))
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(varying[inside], same[inside], atol=1e-3, rtol=0)
    framed = blur.shake_with_rotation(photo, path, torch.zeros(3), (0, 0), border=8)
    torch.testing.assert_close(framed[inside], varying[inside], atol=1e-6, rtol=0)
    assert torch.equal(framed, F.pad(framed[inside], (8,) * 4))


def test_a_camera_that_only_moves_is_a_kernel_and_a_late_row_sees_a_later_part_of_the_way() -> None:
    photo = blur.to_linear(made_photo(1, 96, 96).float() / 255)
    poses = torch.zeros(25, 4)
    poses[:, 1] = torch.linspace(-3, 3, 25)
    inside = (..., slice(8, -8), slice(8, -8))
    seen = motion.seen_by(photo, poses, 0.0, (0, 0), 8)
    same = blur.convolve(photo, blur.shake_kernel(poses[:, :2]))
    torch.testing.assert_close(seen[inside], same[inside], atol=0.05, rtol=0)
    assert torch.equal(seen, F.pad(seen[inside], (8,) * 4))
    poses[:, 1] = torch.cat([torch.zeros(12), torch.linspace(0, 6, 13)])  # still, then a pull
    seen = motion.seen_by(photo, poses, 1.0, (0, 0), 8)
    changed = (seen - photo)[inside].abs().mean(0)
    assert changed[:6].mean() < 0.02 < 0.05 < changed[-6:].mean()


def test_layers_move_on_their_own_and_hide_what_is_behind(made: Photos) -> None:
    scene, thing = torch.full((3, 120, 120), 0.2), torch.full((3, 120, 120), 0.9)
    mask = torch.zeros(1, 120, 120)
    mask[:, 40:80, 40:80] = 1
    for seed in range(6):
        blurry, sharp = motion.layers_in_motion(scene, [(thing, mask)], Dice(seed), 12)
        assert torch.equal(sharp, scene * (1 - mask) + thing * mask)
        assert blurry[:, 58:62, 58:62].mean() == pytest.approx(0.9, abs=0.02), (
            "the middle is the thing's alone"
        )
        assert blurry[:, :20].mean() == pytest.approx(0.2, abs=0.001)
        assert blurry.mean() == pytest.approx(sharp.mean().item(), abs=0.001)


def test_a_hand_goes_as_far_as_asked_and_never_the_same_way() -> None:
    ways = [paths.hand_path(Dice(seed), 20.0) for seed in range(8)]
    for way in ways:
        assert (way.amax(0) - way.amin(0)).max().item() == pytest.approx(20, rel=1e-3)
        assert way.mean(0).abs().max() < 1e-3
    assert len({tuple(way[5].tolist()) for way in ways}) == 8


@pytest.mark.parametrize("power", [None, 1.0, 2.2])
def test_what_adds_up_there_and_back(power: float | None) -> None:
    light = torch.linspace(0, 3, 500)
    sums = blur.Sum(power)
    torch.testing.assert_close(sums.light(sums.of(light)), light, atol=1e-4, rtol=1e-4)
    assert sums.light(sums.of(torch.tensor([-1e-7]))).isfinite(), "what a Fourier transform leaves of nothing"
    if power == 1.0:  # values as in the file
        torch.testing.assert_close(sums.of(light).clamp_max(1), blur.to_srgb(light), atol=1e-5, rtol=0)


def test_srgb_there_and_back() -> None:
    levels = torch.linspace(0, 1, 256)
    torch.testing.assert_close(blur.to_srgb(blur.to_linear(levels)), levels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("subsample", [False, True])
@pytest.mark.parametrize("quality", [40, 80, 95])
def test_jpeg_in_tensors_is_close_to_a_jpeg_file(quality: int, subsample: bool) -> None:
    smooth = F.interpolate(torch.rand(1, 3, 12, 12), size=(96, 96), mode="bicubic").clamp(0, 1)[0]
    photo = (smooth * 255).round() / 255
    file = io.BytesIO()
    pixels = (photo.permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(file, "jpeg", quality=quality, subsampling=2 if subsample else 0)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
    made = degrade.jpeg(photo, quality, subsample=subsample)
    loss = (expected - photo).square().mean()
    assert (made - expected).square().mean() < 0.15 * loss + (1 / 255) ** 2


def test_noise_is_as_strong_as_asked_with_and_without_grain() -> None:
    grey = torch.full((3, 200, 200), degrade.MID_GREY)
    for grain in (0.0, 0.8):
        noise = degrade.add_noise(grey, 0.03, Dice(1), grain=grain) - grey
        assert noise.std().item() == pytest.approx(0.03, rel=0.1)


@pytest.mark.parametrize("kind", pairs.KINDS)
def test_pairs_of_every_kind(made: Photos, kind: str) -> None:
    for seed in range(4):
        pair = pairs.make_pair(made, 48, kind, Dice(seed), FULL)
        for photo in (pair.blurry, pair.sharp):
            assert photo.shape == (3, 48, 48)
            assert torch.isfinite(photo).all()
            assert 0 <= photo.min() <= photo.max() <= 1
        torch.testing.assert_close(pair.blurry * 255, (pair.blurry * 255).round(), atol=1e-3, rtol=0)
        assert torch.equal(pair.blurry, pair.sharp) == (kind == "sharp")


def test_a_mix_says_how_often_a_pair_is_hard() -> None:
    none, all_of_it = pairs.Mix(0, 0, 0, 0, 0, 0), pairs.Mix(1, 1, 1, 1, 1, 1)
    light = Dice(1).normal(3, 64, 64).abs().clamp(0, 1)
    assert torch.equal(
        pairs.finish(light, pairs.no_tone, Dice(2), none), (blur.to_srgb(light) * 255).round() / 255
    )
    assert not torch.equal(
        pairs.finish(light, pairs.no_tone, Dice(2), all_of_it),
        pairs.finish(light, pairs.no_tone, Dice(2), none),
    )
    for mix, low, high in ((none, 1, 15), (all_of_it, 15, 40)):
        shakes = [pairs.random_shake(Dice(seed), mix) for seed in range(20)]
        widths = [(path.amax(0) - path.amin(0)).max().item() for path in shakes]
        assert low <= min(widths) and max(widths) <= high  # noqa: PT018  one range


def test_a_shallow_focus_is_soft_in_a_part_and_the_same_elsewhere() -> None:
    scene = Dice(1).normal(3, 200, 200).abs().clamp(0, 1)
    shares = []
    for seed in range(12):
        changed = (pairs.shallow_focus(scene, Dice(seed)) - scene).abs().amax(0) > 0.02
        shares.append(changed.float().mean().item())
        assert shares[-1] > 0.02
    assert sum(share < 0.9 for share in shares) > 9


def test_a_target_may_be_meant_to_be_soft_in_a_part(made: Photos) -> None:
    sharp = dataclasses.replace(FULL, shallow=0.0, noise=0.0, sharpening=0.0, jpeg=0.0)
    shallow = dataclasses.replace(sharp, shallow=1.0)
    detail = torch.zeros(2)
    for seed in range(16):
        before, after = (pairs.make_pair(made, 48, "sharp", Dice(seed), mix) for mix in (sharp, shallow))
        assert torch.equal(after.blurry, after.sharp), "left as it is"
        detail += torch.stack([pair.sharp.diff(dim=2).abs().mean() for pair in (before, after)])
    assert detail[1] < 0.9 * detail[0]


def test_a_batch_follows_from_its_step(made: Photos) -> None:
    first, again, next_one = (pairs.make_batch(made, 32, 3, Dice(1, step), FULL)[0] for step in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)


def save(photo: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo.permute(1, 2, 0).numpy()).save(path)


def test_held_out_photos_are_never_trained_on(tmp_path: Path) -> None:
    for i in range(24):
        save(made_photo(i, 64, 64), tmp_path / "stills" / f"{i}.png")
        save(made_photo(i, 64, 64), tmp_path / "some_frames_SEQ1" / f"{i:04}.png")
    for name in ("SEQ1_x", "SEQ2_x"):
        save(made_photo(50, 64, 64), tmp_path / "pairs" / f"{name}_sharp.png")
        save(made_photo(51, 64, 64), tmp_path / "pairs" / f"{name}_blurry.png")
    train, held_out = photos.read_photos(tmp_path)
    assert train.sharp
    assert held_out.sharp
    assert set(train.sharp) | set(held_out.sharp) == {f"stills/{i}.png" for i in range(24)}
    assert not set(train.sharp) & set(held_out.sharp)
    assert not train.pairs
    assert list(held_out.pairs) == ["pairs/SEQ2_x_sharp.png"]  # SEQ1's frames are trained on
    (seen,), (unseen,) = train.videos.values(), held_out.videos.values()
    assert torch.equal(seen[0], made_photo(0, 64, 64))
    assert torch.equal(unseen[-1], made_photo(23, 64, 64))
    assert len(seen) + len(unseen) < 24  # some between them are seen by nobody


def test_more_photos_do_not_change_who_is_held_out() -> None:
    names = [f"{i}.jpg" for i in range(600)]
    assert 70 < sum(map(photos.held_out, names)) < 130


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photos found"):
        photos.read_photos(tmp_path)


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"broken\.png"):
        photos.read_photos(tmp_path)


def test_what_is_soft_is_no_target() -> None:
    edges = made_photo(1).float() / 255
    smooth = torch.linspace(0, 1, 280).expand(3, 320, 280)
    assert photos.softness(edges) < 30 < photos.SOFT_DB < photos.softness(smooth)
    assert photos.softness(blur.convolve(edges, blur.lens_kernel(6))) > photos.softness(edges) + 8
    drawn = iter([smooth, smooth, edges, smooth])
    assert photos.sharp_crop(lambda: next(drawn), 8) is edges
    assert photos.sharp_crop(lambda: smooth, 8) is smooth, "a photo of nothing but sky"


def test_training_starts_from_the_identity(made: Photos) -> None:
    blurry, _ = trainer(made).batch(0, EASY)
    with torch.no_grad():
        assert torch.equal(trainer(made).forward(blurry), blurry)


@pytest.mark.parametrize("pixels", ["charbonnier", "rms"])
def test_what_is_made_worse_counts_more_than_what_is_made_better(pixels: str) -> None:
    sharp = torch.full((1, 3, 16, 16), 0.5)
    blurry = sharp + 0.1
    settings = Settings(pixels=pixels, frequency=0.0, harm=3.0)
    worse, same, better = (loss_of(blurry + step, sharp, blurry, settings) for step in (0.02, 0.0, -0.02))
    assert (worse - same) / (same - better) == pytest.approx(1 + 3.0, rel=1e-3)


def test_one_large_error_costs_more_in_squares() -> None:
    sharp = torch.full((1, 3, 16, 16), 0.5)
    spread, single = sharp + 0.01, sharp.clone()
    single[..., 0, 0] += 0.01 * 16 * 16
    costs = {
        pixels: [
            loss_of(x, sharp, sharp + 9, Settings(pixels=pixels, frequency=0.0)) for x in (spread, single)
        ]
        for pixels in ("charbonnier", "rms")
    }
    assert costs["charbonnier"][0] == pytest.approx(costs["charbonnier"][1].item(), rel=0.2)
    assert costs["rms"][1] > 10 * costs["rms"][0]


def test_twenty_steps_lower_the_loss(made: Photos) -> None:
    training = trainer(made, learning_rate=1e-3)
    blurred = [pairs.make_pair(made, 48, "gaussian", Dice(1, i), EASY) for i in range(4)]
    blurry, sharp = (
        torch.stack([pair.blurry for pair in blurred]),
        torch.stack([pair.sharp for pair in blurred]),
    )
    losses = [training.train_step(blurry, sharp) for _ in range(20)]
    assert losses[-1] < 0.985 * losses[0]


@pytest.mark.parametrize("shape", [(3, 170, 32), (2, 32, 85), (1, 16, 16)])
def test_orthogonalising_makes_singular_values_nearly_equal(shape: tuple[int, ...]) -> None:
    matrices = Dice(1, *shape).normal(*shape)
    matrices[:, 0] *= 10  # one direction far stronger than the others
    before, after = torch.linalg.svdvals(matrices), torch.linalg.svdvals(orthogonalise(matrices))
    assert (before[:, 0] / before[:, min(shape[1:]) // 4]).min() > 3
    # The weakest of a square matrix may be too weak for five rounds.
    typical = after[:, : min(shape[1:]) * 3 // 4]
    assert typical.min() > 0.5
    assert typical.max() < 1.3


def test_muon_moves_as_the_one_of_torch() -> None:
    dice = Dice(2)
    ours = [nn.Parameter(dice.normal(*shape)) for shape in ((64, 32, 1, 1), (8, 16, 3, 3), (64, 32, 1, 1))]
    theirs = [nn.Parameter(p.detach().flatten(1).clone()) for p in ours]
    options = {"lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1}
    first, second = Muon(ours, **options), torch.optim.Muon(theirs, **options, adjust_lr_fn="match_rms_adamw")
    start = [p.detach().clone() for p in theirs]
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = dice.normal(*p.shape)
            q.grad = p.grad.flatten(1)
        first.step()
        second.step()
    for p, q, begin in zip(ours, theirs, start, strict=True):
        assert (p.flatten(1) - q).norm() < 0.03 * (q - begin).norm()  # bfloat16, rounded elsewhere


def test_every_parameter_has_one_optimizer(made: Photos) -> None:
    a = trainer(made)
    trained = [p for optimizer in a.optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, trained)) == sorted(map(id, a.model.parameters()))


def test_resuming_gives_the_weights_of_not_stopping(made: Photos, tmp_path: Path) -> None:
    straight, stopped = trainer(made), trainer(made)
    for _ in range(6):
        straight.train_step(*straight.batch(straight.step, EASY))
    for _ in range(3):
        stopped.train_step(*stopped.batch(stopped.step, EASY))
    stopped.save_state(tmp_path / "state")
    resumed = trainer(made, seed=1)
    assert resumed.load_state(tmp_path / "state")
    for _ in range(3):
        resumed.train_step(*resumed.batch(resumed.step, EASY))
    for name, p in straight.parameters.items():
        assert torch.equal(p, resumed.parameters[name]), name
        assert torch.equal(straight.average[name], resumed.average[name]), name


def test_state_survives_a_cut_between_two_saves(made: Photos, tmp_path: Path) -> None:
    training = trainer(made)
    assert not training.load_state(tmp_path / "state")
    training.save_state(tmp_path / "state")
    (tmp_path / "state").rename(tmp_path / "state.old")  # as when the power fails between the two renames
    assert training.load_state(tmp_path / "state")


def test_state_files_are_small(made: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = trainer(made)
    training.train_step(*training.batch(0, EASY))
    training.save_state(tmp_path / "one")
    monkeypatch.setattr("training.trainer.SHARD_BYTES", 1_200_000)
    training.save_state(tmp_path / "many")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 3
    assert all(path.stat().st_size < 15_000_000 for path in tmp_path.rglob("*.*"))
    assert all(path.stat().st_size < 1_300_000 for path in (tmp_path / "many").glob("*.*"))
    again = trainer(made)
    again.load_state(tmp_path / "many")
    assert torch.equal(
        again.parameters["patch_embed.proj.weight"], training.parameters["patch_embed.proj.weight"]
    )


def test_weights_are_a_checkpoint_that_the_program_loads(made: Photos, tmp_path: Path) -> None:
    training = trainer(made)
    training.save_weights(tmp_path / "compact.safetensors", trained_on="made photos")
    model = load_model(tmp_path / "compact.safetensors")
    assert model.config == SMALL
    with safe_open(tmp_path / "compact.safetensors", "pt") as file:
        assert file.metadata()["trained_on"] == "made photos"
    other = trainer(made, seed=2)
    other.load_weights(tmp_path / "compact.safetensors")
    torch.testing.assert_close(dict(other.parameters), dict(model.named_parameters()), atol=1e-6, rtol=0)


def test_weights_alone_count_on_and_warm_up_again(made: Photos, tmp_path: Path) -> None:
    training = trainer(made)
    training.step, training.seconds = 5000, 7200.0
    training.save_weights(tmp_path / "compact.safetensors")
    other = trainer(made)
    other.settings = dataclasses.replace(other.settings, warmup=10)
    other.load_weights(tmp_path / "compact.safetensors")
    assert (other.step, other.seconds) == (5000, 7200.0)
    other.train_step(*other.batch(other.step, EASY))
    rate = other.settings.learning_rate
    assert other.optimizers[0].param_groups[0]["lr"] == pytest.approx(rate / 10)
    other.save_state(tmp_path / "state")
    resumed = trainer(made)
    resumed.load_state(tmp_path / "state")
    assert (resumed.step, resumed.began) == (5001, 5000)


def test_weights_and_states_of_another_size_are_refused(made: Photos, tmp_path: Path) -> None:
    training = trainer(made)
    training.save_weights(tmp_path / "small.safetensors")
    training.save_state(tmp_path / "state")
    larger = dataclasses.replace(SMALL, num_blocks=(1, 1, 1, 2))
    other = Trainer(larger, training.settings, made, torch.device("cpu"))
    with pytest.raises(
        WeightsError, match=r"small\.safetensors: a network of dim 16 and blocks \(1, 1, 1, 1\)"
    ):
        other.load_weights(tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match="state: a network of dim 16"):
        other.load_state(tmp_path / "state")
    with pytest.raises(WeightsError, match="nothing\\.safetensors"):
        other.load_weights(tmp_path / "nothing.safetensors")


def test_fast_blocks_are_the_plain_blocks() -> None:
    plain, fast = Restormer(SMALL), Restormer(SMALL)
    fast.load_state_dict(plain.state_dict())
    if not cpu_blocks.speed_up(fast):
        pytest.skip("no compiled loops")
    photo = torch.rand(2, 3, 24, 40)
    for model in (plain, fast):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        (model(photo) * photo.sin()).sum().backward()
    torch.testing.assert_close(fast(photo), plain(photo), atol=1e-5, rtol=0)
    for (name, p), q in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert (p.grad - q.grad).norm() <= 1e-3 * p.grad.norm() + 1e-6, name


def test_models_that_the_fast_blocks_cannot_do_stay_plain() -> None:
    for config in (
        RestormerConfig(dim=8),
        RestormerConfig(dim=16, bias=True),
        RestormerConfig(dim=16, layer_norm="BiasFree"),
    ):
        assert not cpu_blocks.speed_up(Restormer(config))


def test_the_validation_set_is_the_same_every_time_and_knows_the_identity(
    made: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "CASES_A_GROUP", 2)
    monkeypatch.setattr(validation, "SIZE", 96)
    first, again = validation.make_cases(made), validation.make_cases(made)
    assert len({case.group for case in first}) == 11
    assert all(
        torch.equal(a.blurry, b.blurry) and torch.equal(a.sharp, b.sharp)
        for a, b in zip(first, again, strict=True)
    )
    rows = validation.evaluate(lambda photo: photo, first, (0.6, 1.5))
    assert validation.mean_gain(rows) == 0
    assert validation.kept_sharp(rows) == 100
    better = {case.blurry.sum().item(): case.sharp for case in first}
    rows = validation.evaluate(lambda photo: better[photo.sum().item()][None], first, (0.6, 1.5))
    assert all(row.after == 100 and row.lowered == 0 for row in rows)
    assert "+" in validation.table(rows, (0.6, 1.5))


def test_a_run_and_its_continuation(
    made: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(validation, "CASES_A_GROUP", 1)
    monkeypatch.setattr(validation, "SIZE", 64)
    cases = validation.make_cases(made)
    training, threads = trainer(made), torch.get_num_threads()
    loop.run(training, cases, tmp_path, loop.Minutes(0.02, cooldown=0.5))
    assert torch.get_num_threads() == threads  # whatever number the helper has
    saved = trainer(made)
    saved.load_state(tmp_path / "state")
    assert 0 < saved.step < training.step  # the cooldown is no part of the state
    assert "cooldown" in (tmp_path / "log.csv").read_text() or "trunk" in capsys.readouterr().out
    loop.run(saved, cases, tmp_path, loop.Minutes(0.02, cooldown=0.5))
    assert load_model(tmp_path / "compact.safetensors").config == SMALL
    assert "already sharp" in (tmp_path / "validation.md").read_text()


def test_time_stopped_is_not_time_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("training.loop.time.monotonic", lambda: now)
    watch = loop.Stopwatch()
    for took in (1.0, 1.0, 600.0, 1.0):
        watch.start()
        now += took
        watch.stop()
    assert watch.seconds == pytest.approx(8)


def test_pages_have_print_and_differ() -> None:
    """Drawn with the font of Pillow where none are given: many edges, the same for the same dice and another for others."""
    first, second, again = (np.asarray(page(Dice(1, i), []), float) for i in (0, 1, 0))
    assert np.abs(np.diff(first, axis=1)).mean() > 2
    assert np.abs(first - second).mean() > 5
    assert np.array_equal(first, again)
