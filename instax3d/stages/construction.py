"""The stage that optimizes the Gaussians; apart from the others, as it takes seconds to import Lightning."""

from pathlib import Path

from instax3d.types import StepEvent

from .cache import CHECKPOINT
from .callbacks import trainer_options
from .making import Construction, Made
from .records import PipelineStage
from .run import Run
from .training import PortraitModule, assemble, load_checkpoint, train


def construct(run: Run, stage: PipelineStage, made: Made) -> Construction:
    """The Gaussians, optimized until they draw the views; an interrupted optimization may be continued."""
    progress, renderer = run.stages.progress, run.renderer

    def on_step(event: StepEvent) -> None:
        if event.psnr is not None:
            born, died = event.so_far.born, event.so_far.died
            progress.step(event.step + 1, psnr=event.psnr, gaussians=event.gaussians, born=born, died=died)
        run.tell(event)

    watched = bool(run.callbacks)
    module, order = assemble(run.config, made.mesh, made.views, renderer, on_step=on_step, every_step=watched)
    checkpoint = run.cache.path(stage.name, run.keys[stage.name], CHECKPOINT) if run.cache else None
    if checkpoint is not None:
        _resume(run, module, checkpoint)
    options = trainer_options(run.config, run.callbacks)
    train(module, order, device=renderer.device_type, checkpoint=checkpoint, on_checkpoint=run.tell, trainer=options)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    module.to("cpu")
    representation = module.representation
    return Construction(representation.gaussians().detach(), module.losses, module.densified, representation.binding())


def _resume(run: Run, module: PortraitModule, checkpoint: Path) -> None:
    """Continue from the checkpoint of an interrupted run, if that is requested."""
    state = load_checkpoint(checkpoint)
    if state is None:
        if run.resume is True:
            run.stages.note("there is no unfinished construction of this portrait to resume; it starts from scratch")
    elif run.resume:
        module.resume(state)
        run.stages.note(f"resumed after {module.step_count} of {run.config.training.iterations} steps")
    else:
        run.stages.note(
            f"an earlier construction of this portrait stopped after {state['step_count']} steps; "
            "it starts from scratch, as --resume was not given"
        )
