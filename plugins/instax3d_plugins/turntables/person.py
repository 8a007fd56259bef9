"""A random person: complexion, hair, clothes and light, as plain numbers."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from instax3d.headmodel import HeadModel, HeadParameters

GAMMA = 2.2
"""Between colors as displayed and as light adds up."""
_SKIN = [
    (0.95, 0.81, 0.73),
    (0.91, 0.73, 0.62),
    (0.81, 0.61, 0.48),
    (0.67, 0.47, 0.35),
    (0.50, 0.34, 0.25),
    (0.37, 0.24, 0.18),
]
"""From light to dark, as displayed."""
_HAIR = [
    (0.10, 0.09, 0.09),
    (0.20, 0.14, 0.11),
    (0.36, 0.25, 0.17),
    (0.48, 0.28, 0.16),
    (0.70, 0.56, 0.36),
    (0.62, 0.60, 0.58),
]
"""Black, dark brown, brown, auburn, blond, gray."""
_IRIS = [(0.22, 0.13, 0.08), (0.36, 0.23, 0.12), (0.33, 0.38, 0.24), (0.28, 0.42, 0.55), (0.42, 0.46, 0.48)]
_STYLES = {"bald": 0.10, "cropped": 0.28, "short": 0.24, "bob": 0.20, "long": 0.18}


@dataclass(frozen=True)
class HairStyle:
    """Lengths in meters."""

    name: str
    thickness: float
    """Of the layer on the crown; less at the sides and at the nape."""
    lumps: float
    """How uneven the layer is."""
    end: float | None
    """How far below the chin hanging hair ends; None for hair that does not hang."""
    front: float
    """Hanging hair stays behind this place (z)."""
    fringe: float
    """How far down the forehead hair reaches, 0 to 1."""
    waviness: float
    """By how much strands swing, radians around the head."""


@dataclass(frozen=True, eq=False)
class DirectionalLight:
    """A distant light."""

    direction: Float[ndarray, "3"]
    color: Float[ndarray, "3"]


@dataclass(frozen=True, eq=False)
class RandomPerson:
    """Colors are linear (as light adds up)."""

    parameters: HeadParameters
    skin: Float[ndarray, "3"]
    lips: Float[ndarray, "3"]
    hair: Float[ndarray, "3"]
    brows: Float[ndarray, "3"]
    iris: Float[ndarray, "3"]
    cloth: Float[ndarray, "3"]
    trim: Float[ndarray, "3"]
    """Second color of the clothes: stripes and collar."""
    stripes: float
    """Strength of the stripes, 0 for plain clothes."""
    style: HairStyle
    beard: float
    """Darkness of a beard's shadow, 0 to 1."""
    freckles: float
    neckline: float
    """How deep the clothes are cut out in front, meters."""
    shoulders: float
    """Width of the shoulders, of the mean."""
    gaze: Float[ndarray, "3"]
    lights: tuple[DirectionalLight, ...]
    sky: Float[ndarray, "3"]
    ground: Float[ndarray, "3"]
    turn_deg: float
    """Azimuth of the input view."""
    seeds: Int[ndarray, "12"]
    """For the noises."""


def random_person(model: HeadModel, rng: np.random.Generator, *, turn_deg: float) -> RandomPerson:
    """Draw a person; the input view lies within ``turn_deg`` of the front."""
    dark = float(rng.uniform())
    skin = linear(_along(_SKIN, dark)) * rng.uniform(0.94, 1.04, 3)
    # black hair goes with any skin, fair hair mostly with fair skin
    hair = linear(_along(_HAIR, float(rng.uniform(0, 1.0 if rng.uniform() > dark else 0.35)))) * rng.uniform(0.8, 1.2)
    names = list(_STYLES)
    style = _style(str(rng.choice(names, p=list(_STYLES.values()))), rng)
    bearded = style.name in ("bald", "cropped", "short") and rng.uniform() < 0.5
    cloth, trim = (linear(_cloth(rng)) for _ in range(2))
    return RandomPerson(
        parameters=_parameters(model, rng),
        skin=skin,
        lips=skin * np.array([0.92, 0.50, 0.52]) * rng.uniform(0.75, 1.0) + np.array([0.06, 0.0, 0.005]),
        hair=hair,
        brows=hair * rng.uniform(0.4, 0.9),
        iris=linear(_along(_IRIS, float(rng.uniform(0, 1.0 if dark < 0.45 else 0.3)))),
        cloth=cloth,
        trim=trim,
        stripes=float(rng.choice([0.0, 0.0, 1.0])),
        style=style,
        beard=float(rng.uniform(0.25, 0.9)) if bearded else 0.0,
        freckles=float(rng.choice([0.0, 0.15, 0.5])),
        neckline=float(rng.uniform(0.0, 0.06)),
        shoulders=float(rng.uniform(0.9, 1.1)),
        gaze=_unit(np.array([rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1), 1.0])),
        lights=_lights(rng),
        sky=rng.uniform(0.35, 0.75) * _tint(rng, 0.10),
        ground=rng.uniform(0.10, 0.3) * _tint(rng, 0.12),
        turn_deg=float(rng.uniform(-turn_deg, turn_deg)),
        seeds=rng.integers(0, 2**31, 12),
    )


def linear(color: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    """A displayed color as light."""
    return np.asarray(color**GAMMA)


def _parameters(model: HeadModel, rng: np.random.Generator) -> HeadParameters:
    """A random shape, and up to three expressions, the same on both sides."""
    neutral = model.neutral()
    shape = torch.from_numpy(0.9 * rng.normal(size=model.shape_components)).to(neutral.shape)
    expression = neutral.expression.clone()
    names = model.expression_names
    # gaze is painted, and portraits show open eyes
    usable = [k for k, name in enumerate(names) if not name.startswith(("eyeLook", "eyeBlink"))]
    for k in rng.choice(usable, min(len(usable), int(rng.integers(0, 4))), replace=False):
        amount = float(rng.uniform(0, 0.4)) * model.expression_bounds[1]
        other = names[k].replace("Left", "%").replace("Right", "Left").replace("%", "Right")
        for name in {names[k], other}:
            expression[names.index(name)] = amount
    return replace(neutral, shape=shape, expression=expression)


def _style(name: str, rng: np.random.Generator) -> HairStyle:
    thick = {"bald": 0.0, "cropped": 0.0, "short": rng.uniform(0.012, 0.03)}.get(name, rng.uniform(0.014, 0.03))
    end = {"bob": rng.uniform(-0.05, 0.02), "long": rng.uniform(0.05, 0.16)}.get(name)
    return HairStyle(
        name=name,
        thickness=float(thick),
        lumps=float(rng.uniform(0.05, 0.3)),
        end=None if end is None else float(end),
        front=float(rng.uniform(-0.01, 0.025)),
        fringe=float(rng.uniform(0.3, 1.0)) if name != "cropped" and rng.uniform() < 0.35 else 0.0,
        waviness=float(rng.choice([0.0, 0.015, 0.05])),
    )


def _lights(rng: np.random.Generator) -> tuple[DirectionalLight, ...]:
    """A key light in front and above, a weak one from the other side, sometimes one from behind."""
    side = float(rng.uniform(-1.2, 1.2))
    key = DirectionalLight(
        _unit(np.array([np.sin(side), rng.uniform(0.1, 0.9), np.cos(side)])), rng.uniform(0.5, 1.1) * _tint(rng, 0.15)
    )
    fill = DirectionalLight(_unit(np.array([-np.sin(side), 0.2, 0.6])), rng.uniform(0.05, 0.3) * _tint(rng, 0.1))
    rim = DirectionalLight(_unit(np.array([rng.uniform(-1, 1), 0.5, -1.0])), rng.uniform(0.0, 0.7) * _tint(rng, 0.15))
    return key, fill, rim


def _cloth(rng: np.random.Generator) -> Float[ndarray, "3"]:
    """Mostly muted colors, as displayed."""
    gray = rng.uniform(0.08, 0.85)
    return np.asarray(np.clip(gray + rng.normal(size=3) * rng.choice([0.02, 0.07, 0.18]), 0.04, 0.92))


def _tint(rng: np.random.Generator, strength: float) -> Float[ndarray, "3"]:
    """Warmer or colder than white."""
    warm = rng.uniform(-strength, strength)
    return np.array([1 + warm, 1.0, 1 - warm])


def _along(anchors: list[tuple[float, float, float]], t: float) -> Float[ndarray, "3"]:
    at = t * (len(anchors) - 1)
    low = min(int(at), len(anchors) - 2)
    first, second = list(pairwise(np.array(anchors)))[low]
    return np.asarray(first + (second - first) * (at - low))


def _unit(vector: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    return np.asarray(vector / np.linalg.norm(vector))
