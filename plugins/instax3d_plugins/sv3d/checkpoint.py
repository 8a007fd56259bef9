"""Reads SV3D from its official flat file or from a folder in diffusers' style, and writes such folders.

Headers are compared with the networks' shapes before a tensor is read; each part is then read separately.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig

from instax3d.errors import ModelFileError

from .header import Header, read_header
from .layout import (
    OFFICIAL_FRAMES,
    PREFIXES,
    TOLERATED,
    Architecture,
    Part,
    Shape,
    TensorSource,
    Variant,
    clip_source,
    infer,
    unet_source,
    vae_source,
    variant_of,
)
from .networks import AutoencoderKL, CLIPVisionModelWithProjection
from .unet import SV3DUNet, build_unet

Decoder = Literal["vae", "first_stage"]
_WEIGHTS: Mapping[Part, str] = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "image_encoder": "image_encoder/model.safetensors",
}
"""The parts' files in a folder."""
_CLASSES = {
    "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
}
_INDEX = "model_index.json"
_MAX_NAMES = 8
"""Most names that a message lists."""


@dataclass(frozen=True)
class Checkpoint:
    """A model whose layout was checked; no tensor of it is read yet."""

    path: Path
    architecture: Architecture
    headers: Mapping[Part, Header]
    official: bool
    """One flat file with the official names, rather than a folder."""
    notes: tuple[str, ...] = ()
    """What else the file holds and the user should know; one sentence each."""

    @property
    def variant(self) -> Variant:
        return self.architecture.variant

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read, each once."""
        return tuple(dict.fromkeys(header.path for header in self.headers.values()))

    def part_shapes(self, part: Part) -> list[Shape]:
        """Shapes of a part's tensors in its file."""
        prefix = PREFIXES[part] if self.official else ""
        return [shape for name, shape in self.headers[part].shapes.items() if name.startswith(prefix)]

    def part_bytes(self, part: Part) -> int:
        """Bytes of a part's tensors in its file."""
        return self.headers[part].size(PREFIXES[part] if self.official else "")

    def load_unet(self, dtype: torch.dtype = torch.float32) -> SV3DUNet:
        """The UNet, on the CPU."""
        unet = _unet(self.architecture)
        self._fill(unet, "unet", unet_source, dtype)
        return unet

    def load_vae(self, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
        """The autoencoder of condition and frames, on the CPU."""
        vae = _vae(self.architecture)
        self._fill(vae, "vae", _vae_source(self.architecture), dtype)
        return vae

    def load_first_stage(self, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
        """The decoder that the original program uses: an `AutoencoderKL` that cannot encode, on the CPU.

        Raises:
            ModelFileError: the model has none; folders never have one.
        """
        if "first_stage" not in self.headers:
            raise ModelFileError(
                f"{self.path} has no usable decoder under {PREFIXES['first_stage']}; write decoder=vae, or "
                "give an official file"
            )
        vae = _first_stage(self.architecture)
        self._fill(vae, "first_stage", _vae_source(self.architecture), dtype)
        return vae

    def load_image_encoder(self, dtype: torch.dtype = torch.float32) -> CLIPVisionModelWithProjection:
        """CLIP's vision tower, on the CPU."""
        encoder = _image_encoder(self.architecture)
        self._fill(encoder, "image_encoder", clip_source, dtype)
        # the only buffer that no file holds
        embeddings = encoder.vision_model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions)[None]
        return encoder

    def _fill(self, model: nn.Module, part: Part, source: Callable[[str], TensorSource], dtype: torch.dtype) -> None:
        header = self.headers[part]
        state = {}
        with safe_open(header.path, framework="pt") as file:
            for name in model.state_dict():
                if self.official:
                    official = source(name)
                    tensor = official.take(file.get_tensor(PREFIXES[part] + official.name))
                else:
                    tensor = file.get_tensor(name)
                state[name] = tensor.to(dtype).contiguous()
        model.load_state_dict(state, strict=True, assign=True)
        model.requires_grad_(False)


def open_checkpoint(path: Path) -> Checkpoint:
    """Read what a file or folder holds, and check that it is complete; no tensor is read.

    Raises:
        ModelFileError: it is not an SV3D model, or tensors are missing, of other shapes or unknown; they are named.
    """
    return _open_folder(path) if path.is_dir() else _open_official(path)


def _open_official(path: Path) -> Checkpoint:
    header = read_header(path)
    if not any(name.startswith(PREFIXES["unet"]) for name in header.shapes):
        examples = ", ".join(sorted(header.shapes)[:3]) or "no tensors"
        raise ModelFileError(
            f"{path} is not an SV3D file: no tensor begins with {PREFIXES['unet']} (it has {examples}, …); "
            "give sv3d_u.safetensors or sv3d_p.safetensors"
        )
    try:
        architecture = infer(header.shapes, header.metadata)
    except KeyError as error:
        raise ModelFileError(f"{path} is not a complete SV3D file: {error.args[0]} is missing") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path} is not an SV3D file: {error}") from error
    parts: list[Part] = ["unet", "vae", "image_encoder"]
    problems = [problem for part in parts for problem in _part_problems(header, architecture, part)]
    if problems:
        raise ModelFileError(f"{path} does not hold the tensors of SV3D. " + "; ".join(problems))
    notes = []
    if any(name.startswith(PREFIXES["first_stage"]) for name in header.shapes):
        decoder_problems = _part_problems(header, architecture, "first_stage")
        if decoder_problems:
            notes.append(f"the second decoder in {path.name} cannot be used: " + "; ".join(decoder_problems))
        else:
            parts.append("first_stage")
    unknown = [name for name in header.shapes if not name.startswith((*PREFIXES.values(), *TOLERATED))]
    if unknown:
        notes.append(f"{path.name} holds {_counted(unknown, 'unknown')}; they are not used")
    return Checkpoint(path, architecture, dict.fromkeys(parts, header), official=True, notes=tuple(notes))


def _part_problems(header: Header, architecture: Architecture, part: Part) -> list[str]:
    """What is wrong with a part in an official file."""
    expected = official_shapes(architecture, part)
    actual = {name: shape for name, shape in header.shapes.items() if name.startswith(PREFIXES[part])}
    return _problems(expected, actual)


def _open_folder(path: Path) -> Checkpoint:
    configs: dict[str, dict[str, Any]] = {}
    headers: dict[Part, Header] = {}
    for part, file in _WEIGHTS.items():
        config = _read_config((path / file).parent / "config.json")
        configs[part] = {name: value for name, value in config.items() if not name.startswith("_")}
        headers[part] = read_header(path / file)
    unet = configs["unet"]
    vector = unet.get("projection_class_embeddings_input_dim")
    variant = variant_of(vector) if isinstance(vector, int) else None
    if variant is None:
        raise ModelFileError(
            f"{path} is not an SV3D model: projection_class_embeddings_input_dim in unet/config.json is {vector}, "
            "SV3D_u has 256 and SV3D_p 1280"
        )
    architecture = Architecture(
        variant, int(unet.get("num_frames", OFFICIAL_FRAMES)), unet, configs["vae"], configs["image_encoder"]
    )
    for part, header in headers.items():
        problems = _problems(part_shapes(architecture, part, header.path), header.shapes)
        if problems:
            raise ModelFileError(f"{header.path} does not hold the tensors of SV3D. " + "; ".join(problems))
    return Checkpoint(path, architecture, headers, official=False)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{path.parent.parent} is not an SV3D folder: cannot read {path.parent.name}/{path.name} ({error}); "
            "`instax3d sv3d convert` makes one from an official file"
        ) from error
    if not isinstance(config, dict):
        raise ModelFileError(f"{path} is not a configuration: it must be a JSON object")
    return config


def _problems(expected: Mapping[str, Shape], actual: Mapping[str, Shape]) -> list[str]:
    """Tensors that are missing, of another shape, or unknown, by name."""
    misshaped = [
        f"{name} ({list(actual[name])}, needed {list(shape)})"
        for name, shape in expected.items()
        if name in actual and actual[name] != shape
    ]
    missing = [name for name in expected if name not in actual]
    unknown = [name for name in actual if name not in expected]
    kinds = ((missing, "missing"), (misshaped, "of another shape"), (unknown, "unknown"))
    return [_counted(names, what) for names, what in kinds if names]


def _counted(names: list[str], what: str) -> str:
    return f"{len(names)} {what}: {', '.join(names[:_MAX_NAMES])}{', …' if len(names) > _MAX_NAMES else ''}"


def part_shapes(architecture: Architecture, part: Part, path: Path) -> Mapping[str, Shape]:
    """Shapes of a part's tensors under the names of diffusers and transformers.

    Raises:
        ModelFileError: no network has these sizes.
    """
    try:
        return _shapes(json.dumps(asdict(architecture)), part)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path}: no {part} has its sizes ({error})") from error


@cache
def _shapes(architecture: str, part: Part) -> Mapping[str, Shape]:
    """Cached, since building a network takes a second, even on the meta device."""
    builders: dict[Part, Callable[[Architecture], nn.Module]] = {
        "unet": _unet,
        "vae": _vae,
        "image_encoder": _image_encoder,
        "first_stage": _first_stage,
    }
    network = builders[part](Architecture(**json.loads(architecture)))
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def official_shapes(architecture: Architecture, part: Part) -> dict[str, Shape]:
    """Shapes of a part's tensors under their full official names."""
    source = {
        "unet": unet_source, "image_encoder": clip_source,
        "vae": _vae_source(architecture), "first_stage": _vae_source(architecture),
    }[part]  # fmt: skip
    shapes = {}
    for name, shape in part_shapes(architecture, part, Path(PREFIXES[part])).items():
        official = source(name)
        shapes[PREFIXES[part] + official.name] = official.official_shape(shape)
    return shapes


def _vae_source(architecture: Architecture) -> Callable[[str], TensorSource]:
    return vae_source(len(architecture.vae["block_out_channels"]))


# Networks on the meta device: their tensors are assigned when the file is read.


@contextmanager
def _without_memory() -> Iterator[None]:
    with torch.device("meta"):
        yield


def _unet(architecture: Architecture) -> SV3DUNet:
    with _without_memory():
        return build_unet(dict(architecture.unet))


def _vae(architecture: Architecture, **options: Any) -> AutoencoderKL:
    with _without_memory():
        vae: AutoencoderKL = AutoencoderKL(**{**architecture.vae, **options})
    vae.eval()
    return vae


def _first_stage(architecture: Architecture) -> AutoencoderKL:
    vae = _vae(architecture, use_quant_conv=False, use_post_quant_conv=False)
    vae.register_module("encoder", nn.Identity())
    return vae


def _image_encoder(architecture: Architecture) -> CLIPVisionModelWithProjection:
    with _without_memory():
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**architecture.image_encoder))
    encoder.eval()
    return encoder


def save_folder(
    folder: Path,
    architecture: Architecture,
    parts: Mapping[Part, Callable[[], Mapping[str, Tensor]]],
) -> None:
    """Write a model in diffusers' style, atomically: its parts' configurations and weights.

    Args:
        folder: must not exist, or be empty.
        parts: of ``unet``, ``vae`` and ``image_encoder`` a function that returns the tensors under diffusers' names;
            called one after the other, so that one part at a time is in memory.

    Raises:
        ModelFileError: the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelFileError(f"{folder} exists; choose another folder for the model, or remove it")
    building = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    settings = {"unet": architecture.unet, "vae": architecture.vae, "image_encoder": architecture.image_encoder}
    index: dict[str, Any] = {"_class_name": "StableVideo3DDiffusionPipeline"}
    try:
        for part, file in _WEIGHTS.items():
            target = building / file
            target.parent.mkdir(parents=True)
            library, name = _CLASSES[part]
            config: dict[str, Any] = {"_class_name": name}
            if library == "transformers":
                config = {"architectures": [name], "model_type": "clip_vision_model"}
            (target.parent / "config.json").write_text(json.dumps({**config, **settings[part]}, indent=1) + "\n")
            save_file({name: value.contiguous() for name, value in parts[part]().items()}, target, {"format": "pt"})
            index[part] = _CLASSES[part]
        (building / _INDEX).write_text(json.dumps(index, indent=1) + "\n")
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
    except OSError as error:
        raise ModelFileError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def convert(source: Path, folder: Path, dtype: torch.dtype = torch.float16) -> Checkpoint:
    """Write the model of a file or folder as a folder in diffusers' style; one part at a time is in memory.

    Raises:
        ModelFileError: ``source`` is not an SV3D model, or ``folder`` cannot be written.
    """
    checkpoint = open_checkpoint(source)
    save_folder(
        folder,
        checkpoint.architecture,
        {
            "unet": lambda: checkpoint.load_unet(dtype).state_dict(),
            "vae": lambda: checkpoint.load_vae(dtype).state_dict(),
            "image_encoder": lambda: checkpoint.load_image_encoder(dtype).state_dict(),
        },
    )
    return open_checkpoint(folder)
