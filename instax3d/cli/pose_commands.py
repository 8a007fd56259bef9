"""``instax3d pose``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from instax3d.errors import PortraitError

if TYPE_CHECKING:
    from instax3d.portrait.portrait import Portrait
    from instax3d.types import Rig

_SHORT = ("jaw", "neck", "eyes")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("changes", nargs=-1, metavar="[NAME=WEIGHT | JOINT=X,Y,Z]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A folder, or a file .png or .ply.")
@click.option("--azimuth", type=float, help="With .png: degrees from which it is seen; 0, in front, by default.")
@click.option("--renderer", metavar="NAME", help="Another renderer than the portrait's own; auto suits the device.")
def pose(
    folder: Path, changes: tuple[str, ...], output: Path | None, azimuth: float | None, renderer: str | None
) -> None:
    """Write the portrait in FOLDER with another expression or pose; without changes, list what can be changed.

    Expressions take a weight, joints three angles in degrees (axis-angle; x to the subject's left, y up, z to the
    front). Each value takes the place of the fitted one. eyes turns both eyes.

    \b
    instax3d pose out/me
    instax3d pose out/me jawOpen=0.6 neck=0,20,0 -o out/me_talking
    instax3d pose out/me jaw=15,0,0 --azimuth 30 -o talking.png
    """
    if output is None and (changes or azimuth is not None):
        raise click.UsageError("say with -o where to write the posed portrait: a folder, or a file .png or .ply")
    picture = output is not None and output.suffix.lower() == ".png"
    if azimuth is not None and not picture:
        raise click.UsageError("--azimuth is for a picture; write -o NAME.png, or leave it out")
    items = [_item(change) for change in changes]
    from instax3d.portrait.portrait import Portrait

    portrait = Portrait.load(folder, [f"renderer={renderer}"] if renderer else [])
    if output is None:
        click.echo("\n".join(_listed(portrait.rig)))
        return
    joints = set() if portrait.rig is None else {*portrait.rig.head.joint_names}
    weights, turns = {}, {}
    for name, numbers in items:
        if name in joints or name in _SHORT or len(numbers) > 1:
            turns[name] = numbers
        else:
            weights[name] = numbers[0]
    _write(portrait.pose(weights, joints=turns), output, azimuth or 0.0)
    click.echo(f"wrote {output}")


def _item(change: str) -> tuple[str, list[float]]:
    """``name=number`` or ``name=x,y,z``."""
    name, equals, value = change.partition("=")
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if not (name and equals and numbers):
        raise click.UsageError(f"cannot understand {change!r}: write jawOpen=0.6 or neck=0,20,0")
    return name, numbers


def _listed(rig: "Rig | None") -> list[str]:
    if rig is None:
        return ["this portrait has no rig, so nothing can be changed; see `instax3d create` with mesh_prior=mannequin"]
    head, (low, high) = rig.head, rig.head.expression_bounds
    lines = [f"expressions of {head.name}, weights in [{low:g}, {high:g}], and as fitted:"]
    lines += [
        f"  {name}={weight:.3g}"
        for name, weight in zip(head.expression_names, rig.parameters.expression.tolist(), strict=True)
    ]
    lines.append("joints, axis-angle in degrees, and as fitted:")
    for name, turn in zip(head.joint_names, rig.parameters.pose.rad2deg().tolist(), strict=True):
        lines.append(f"  {name}={','.join(f'{part:.3g}' for part in turn)}")
    return lines


def _write(portrait: "Portrait", output: Path, azimuth_deg: float) -> None:
    """Raises PortraitError where a file cannot be written."""
    from instax3d.io.images import write_png
    from instax3d.io.ply import write_ply

    suffix = output.suffix.lower()
    if suffix not in (".png", ".ply"):
        portrait.save(output)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".ply":
            write_ply(output, portrait.gaussians)
        else:
            write_png(output, portrait.render(portrait.orbit.cameras([azimuth_deg]))[0][0])
    except OSError as error:
        raise PortraitError(f"cannot write {output}: {error.strerror or error}") from error
