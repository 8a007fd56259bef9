"""Does fine-tuning work? A tiny SV3D learns to turn heads on the CPU: loss, and PSNR of held-out heads by azimuth.

    python benchmarks/finetune_sv3d.py WORK_FOLDER [--out docs]

makes turntables in the work folder unless they are there, and writes finetuning.json, two pictures and, between two
marks of finetuning.md, what came out. UNet, objective, data and Lightning modules, and sampling are the product's; the
autoencoder is linear (benchmarks/miniature_sv3d.py). The UNet starts from random weights, so the benchmark shows that
these parts fit together and learn, not how well the real SV3D is tuned.
"""

import argparse
import csv
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import instax3d  # noqa: F401  # isort: skip - before torch, for its OpenMP setting
import lightning
import torch
from instax3d_plugins.sv3d import vae as coding
from instax3d_plugins.sv3d.finetune.data import TurntableLatents
from instax3d_plugins.sv3d.finetune.latents import EncodedClip, LatentStore
from instax3d_plugins.sv3d.finetune.module import Sv3dFinetuning
from instax3d_plugins.sv3d.finetune.options import FinetuneConfig
from instax3d_plugins.sv3d.sampler import Condition, sample
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from miniature_sv3d import SIZE, MiniatureSV3D, PatchAutoencoder
from torch import Tensor

from instax3d.datasets import AZIMUTHS_DEG, INPUT_VIEW
from instax3d.datasets.making import Recipe, make_dataset
from instax3d.datasets.reading import open_dataset
from instax3d.io.images import write_png
from instax3d.io.processors import available_processors

BEGIN, END = "<!-- miniature -->", "<!-- /miniature -->"
_WARM_UP = 100
"""Steps."""
_NAMED = {"before": "before", "copy of the input": "a copy of the input view", "average head": "the average head"}
_SHOWN = (0, 3, 6, 9, 12, 15, 18)
"""Frames in the sheet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--clips", type=int, default=104)
    parser.add_argument("--held-out", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest; 1e-5 is for tuning real weights")
    parser.add_argument("--sampling-steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    seconds: dict[str, float] = {}

    def timed(what: str, since: float) -> None:
        seconds[what] = round(time.perf_counter() - since, 1)

    since = time.perf_counter()
    data = arguments.work / "turntables"
    make_dataset(data, Recipe("heads", {"size": SIZE}, 0), clips=arguments.clips, processes=available_processors())
    timed("turntables", since)
    clips = open_dataset(data)
    held_out = clips[-arguments.held_out :]

    frames = torch.cat([clip.load().views.images for clip in clips[: -arguments.held_out]]) * 2 - 1
    model = MiniatureSV3D(PatchAutoencoder(frames))
    store = LatentStore(arguments.work / "latents", model, SIZE)
    config = FinetuneConfig(
        steps=arguments.steps,
        rate=arguments.rate,
        size=SIZE,
        camera="aware",
        precision="32-true",
        gradient_checkpointing=False,
        ema_decay=0.995,
        held_out=arguments.held_out,
        check_every=max(1, arguments.steps // 8),
    )
    untrained = FromRandomWeights(model.load_unet(), "p", config)
    since = time.perf_counter()
    run = arguments.work / f"run_{arguments.steps}"
    shutil.rmtree(run, ignore_errors=True)
    before_cpu = time.process_time()
    tuned = trained(model, TurntableLatents(clips, store, held_out=arguments.held_out, seed=0), config, run)
    timed("tuning", since)
    seconds["tuning, CPU"] = round(time.process_time() - before_cpu, 1)
    truth = [clip.load().views.images for clip in held_out]
    encoded = [store.load(clip) for clip in held_out]
    coder = model.autoencoder
    since = time.perf_counter()
    before, after = (generated(module, encoded, coder, arguments.sampling_steps) for module in (untrained, tuned))
    timed("generation", since)
    average = frames.unflatten(0, (-1, len(AZIMUTHS_DEG))).mean(0) / 2 + 0.5
    views = {
        "before": before,
        "after": after,
        "copy of the input": [each[INPUT_VIEW].expand_as(each) for each in truth],
        "average head": [average] * len(truth),
        "autoencoder alone": [decoded(coder, coding.SCALE * each.moments.chunk(2, 1)[0]) for each in encoded],
    }
    curves = {name: psnr(made, truth) for name, made in views.items()}
    losses = measured(run)
    report = {
        "command": f"python benchmarks/finetune_sv3d.py WORK --clips {arguments.clips} --held-out {arguments.held_out} "
        f"--steps {arguments.steps} --rate {arguments.rate} --sampling-steps {arguments.sampling_steps}",
        "clips": {"trained on": len(clips) - len(held_out), "held out": len(held_out)},
        "parameters": sum(p.numel() for p in tuned.parameters()),
        "options": config.model_dump(mode="json"),
        "sampling_steps": arguments.sampling_steps,
        "seconds": seconds,
        "psnr_mean": {name: round(sum(curve[:-1]) / (len(curve) - 1), 2) for name, curve in curves.items()},
        "psnr_by_azimuth": {name: [round(value, 2) for value in curve] for name, curve in curves.items()},
        "azimuths_deg": [round(azimuth, 2) for azimuth in AZIMUTHS_DEG],
        "loss": losses,
    }
    (arguments.out / "finetuning.json").write_text(json.dumps(report, indent=1) + "\n")
    write_png(arguments.out / "finetuning_frames.png", sheet(truth, views, heads=(0, 1, 2)))
    plot(arguments.out / "finetuning.png", report)
    document(arguments.out / "finetuning.md", summary(report))
    print(summary(report))


class FromRandomWeights(Sv3dFinetuning):
    """The product's module under a rate for random weights: it rises for some steps, then falls to 0 on a cosine."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()

        def share(step: int) -> float:
            return min((step + 1) / _WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / self.tuning.steps))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def trained(model: MiniatureSV3D, data: TurntableLatents, config: FinetuneConfig, run: Path) -> "FromRandomWeights":
    """Tuned as by `instax3d finetune sv3d`, without files of the model: its autoencoder is none that a folder holds."""
    module = FromRandomWeights(model.load_unet(), "p", config).train()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=config.steps,
        val_check_interval=config.check_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=CSVLogger(run, name="logs"),
        callbacks=[EMAWeightAveraging(decay=config.ema_decay)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, data)
    return module


def generated(module: Sv3dFinetuning, clips: list[EncodedClip], coder: PatchAutoencoder, steps: int) -> list[Tensor]:
    """Turntables from the input views alone, without guidance, which would sharpen at the cost of PSNR; the last frame
    is the input view itself, as in the product."""
    made = []
    for number, clip in enumerate(clips):
        noise = torch.randn(clip.moments.chunk(2, 1)[0].shape, generator=torch.Generator().manual_seed(number))
        condition = Condition(clip.token[None], clip.condition[None], module.vector(clip))
        with torch.no_grad():
            latents = sample(module.unet.eval(), condition, noise, steps=steps, guidance=1.0)
        latents[INPUT_VIEW] = coding.SCALE * clip.condition
        made.append(decoded(coder, latents))
    return made


@torch.inference_mode()
def decoded(coder: PatchAutoencoder, latents: Tensor) -> Tensor:
    return (coding.decode(coder, latents) / 2 + 0.5).clamp(0, 1)


def psnr(made: list[Tensor], truth: list[Tensor]) -> list[float]:
    """By frame, the mean over heads, dB."""
    each = [-10 * ((a - b) ** 2).mean((1, 2, 3)).clamp(min=1e-8).log10() for a, b in zip(made, truth)]
    return [float(value) for value in torch.stack(each).mean(0)]


def measured(run: Path) -> dict[str, list[list[float]]]:
    """The loss of every step, averaged over fifty, and that on the held-out clips."""
    trained: list[list[float]] = []
    held: list[list[float]] = []
    for path in sorted(run.glob("logs/*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row.get("loss"):
                    trained.append([float(row["step"]), float(row["loss"])])
                if row.get("loss_held_out"):
                    held.append([float(row["step"]), round(float(row["loss_held_out"]), 5)])
    means = [trained[k : k + 50] for k in range(0, len(trained), 50)]
    averaged = [[part[-1][0], round(sum(loss for _, loss in part) / len(part), 5)] for part in means]
    return {"trained on": averaged, "held out": held}


def sheet(truth: list[Tensor], views: dict[str, list[Tensor]], heads: tuple[int, ...]) -> Tensor:
    """For each head: the truth, before, after; the input view is the first column."""
    rows = []
    for head in heads:
        for frames in (truth[head], views["before"][head], views["after"][head]):
            shown = [truth[head][INPUT_VIEW], *(frames[k] for k in _SHOWN)]
            rows.append(torch.cat(shown, 2))
    return torch.nn.functional.interpolate(torch.cat(rows, 1)[None], scale_factor=2.0, mode="nearest")[0]


def summary(report: dict[str, Any]) -> str:
    """The report in words, Markdown."""
    mean, curves, held = report["psnr_mean"], report["psnr_by_azimuth"], report["loss"]["held out"]
    options, seconds = report["options"], report["seconds"]

    def wins(over: str) -> int:
        return sum(a > b for a, b in zip(curves["after"][:INPUT_VIEW], curves[over][:INPUT_VIEW]))

    def gain(over: str) -> float:
        return float(mean["after"] - mean[over])

    def verdict(over: str) -> str:
        better = "closer" if gain(over) > 0 else "**not closer**"
        ahead = f"{gain(over):+.1f} dB, ahead at {wins(over)} of {INPUT_VIEW} azimuths"
        return f"{better} to the truth than {_NAMED[over]}: {ahead}"

    rows = [f"| {name} | {value:.1f} dB |" for name, value in mean.items()]
    return f"""\
    {report["command"]}

| | |
|---|---|
| network | {report["parameters"] / 1e6:.1f} million parameters |
| clips | {report["clips"]["trained on"]} trained on, {report["clips"]["held out"]} held out |
| steps | {options["steps"]}, of one clip; {seconds["tuning, CPU"]:.0f} s of CPU time |
| rate | {options["rate"]:g} after {_WARM_UP} steps of warm-up, then to 0 on a cosine (1e-5 is for real weights) |
| noise levels | ln sigma ~ N({options["sigma_log_mean"]}, {options["sigma_log_std"]}²) |
| weights | averaged, decay {options["ema_decay"]} |
| sampling | {report["sampling_steps"]} steps, no guidance |

![loss, and PSNR by azimuth](finetuning.png)

| held-out heads, mean of {INPUT_VIEW} azimuths | PSNR |
|---|---|
{chr(10).join(rows)}

*Before*: the network with random weights. *Average head*: the mean of the training frames at that azimuth, which needs
no input view and no network. *Autoencoder alone*: the most that is possible.

- The loss on the held-out clips goes from {held[0][1]:.3f} (after {held[0][0] + 1:.0f} steps) to {held[-1][1]:.3f}.
- After tuning the views are {verdict("before")};
- {verdict("copy of the input")};
- {verdict("average head")}.

![truth, before and after for three held-out heads; the input view in the first column](finetuning_frames.png)

Each head: the truth, before, after; first column the input view. All figures: [finetuning.json](finetuning.json).
"""


def document(path: Path, text: str) -> None:
    """Put the text between the marks of the document."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{path} has no {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def plot(path: Path, report: dict[str, Any]) -> None:
    """Loss by step, and PSNR by azimuth."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    for name, curve in report["loss"].items():
        left.plot(*zip(*curve), label=name)
    left.set(xlabel="step", ylabel="loss", yscale="log", title="denoising loss")
    right.margins(y=0.35)  # room for the legend
    for name, curve in report["psnr_by_azimuth"].items():
        right.plot(report["azimuths_deg"][:INPUT_VIEW], curve[:INPUT_VIEW], label=name)
    right.set(xlabel="azimuth, degrees", ylabel="PSNR, dB", title="held-out heads", xticks=range(0, 361, 60))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2, loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
