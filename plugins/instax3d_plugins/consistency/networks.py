"""CLIP's and DINO's vision transformers, read from folders in transformers' format, and never downloaded."""

import abc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PretrainedConfig,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

from instax3d.assets import Located
from instax3d.errors import AssetError
from instax3d.io.images import to_uint8
from instax3d.io.safeload import read_checkpoint

CONFIG = "config.json"


class Encoder(abc.ABC):
    """A network that embeds images; the cosine of two embeddings is their similarity.

    Raises:
        AssetError: the files do not hold this network.
    """

    title: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    """In ``config.json``."""
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]

    def __init__(self, located: Located) -> None:
        files = dict(located.files)
        config_file = files.pop(CONFIG)
        (weights_file,) = files.values()
        self._model = self._load(_config(config_file, self), weights_file)
        self.size = int(self._model.config.image_size)

    @torch.no_grad()
    def directions(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features"]:
        """Unit vectors of images in [0, 1], one after the other, so that none depends on the batch."""
        embeddings = [self.features(self.prepared(image)[None])[0] for image in images]
        return functional.normalize(torch.stack(embeddings).double(), dim=1)

    def prepared(self, image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 size size"]:
        """The network's input: the shorter side resized to its size by Pillow's bicubic filter, center-cropped,
        normalized."""
        picture = Image.fromarray(to_uint8(image).numpy())
        short = min(picture.size)
        width, height = (int(self.size * side / short) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        picture = picture.crop((left, top, left + self.size, top + self.size))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std

    @abc.abstractmethod
    def features(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n features"]:
        """The network's embeddings of prepared images."""

    @abc.abstractmethod
    def _load(self, config: Mapping[str, Any], weights_file: Path) -> PreTrainedModel: ...


class ClipEncoder(Encoder):
    """CLIP's image embedding (Radford et al. 2021), after the projection that text is compared in."""

    title = "CLIP's vision transformer"
    model_types = ("clip", "clip_vision_model")
    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)

    def features(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n features"]:
        embeddings: Tensor = self._model(pixel_values=pixels).image_embeds
        return embeddings

    def _load(self, config: Mapping[str, Any], weights_file: Path) -> PreTrainedModel:
        vision = dict(config)
        if config["model_type"] == "clip":  # text and vision together
            inner = config.get("vision_config") or config.get("vision_config_dict") or {}
            vision = {**inner, "projection_dim": config.get("projection_dim", inner.get("projection_dim", 512))}
        return _filled(CLIPVisionModelWithProjection, CLIPVisionConfig, vision, weights_file, self.title)


class DinoEncoder(Encoder):
    """DINO's class token (Caron et al. 2021) after the last layer's norm."""

    title = "DINO's vision transformer"
    model_types = ("vit",)
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def features(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n features"]:
        embeddings: Tensor = self._model(pixel_values=pixels).last_hidden_state[:, 0]
        return embeddings

    def _load(self, config: Mapping[str, Any], weights_file: Path) -> PreTrainedModel:
        return _filled(ViTModel, ViTConfig, config, weights_file, self.title, add_pooling_layer=False)


def _config(file: Path, encoder: Encoder) -> Mapping[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"{file} cannot be read as JSON ({error}); download it again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in encoder.model_types:
        raise AssetError(
            f"{file} describes a model of type {kind!r}, but {encoder.title} has type "
            f"{' or '.join(map(repr, encoder.model_types))}; give the folder of that network"
        )
    return dict(config)


def _weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name; nothing else is read from a pickle."""
    if file.suffix == ".safetensors":
        try:
            return dict(load_file(file))
        except (OSError, SafetensorError) as error:
            raise AssetError(f"{file} cannot be read as safetensors ({error}); download it again") from error
    weights = read_checkpoint(file)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise AssetError(f"{file} is not a state dict of tensors; download it again")
    return {str(name): value for name, value in weights.items()}


def _filled(
    model: type[PreTrainedModel],
    config: type[PretrainedConfig],
    values: Mapping[str, Any],
    file: Path,
    title: str,
    **options: Any,
) -> PreTrainedModel:
    """The network with these weights, whose older names transformers translates; refused if one is missing."""
    weights = _weights(file)
    try:
        with torch.random.fork_rng(devices=[]), _quiet():  # missing tensors would be drawn at random
            loaded = model.from_pretrained(
                None,
                config=config.from_dict(dict(values)),
                state_dict=weights,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                **options,
            )
        # with its loading info the network comes in a pair, which transformers' annotation leaves out
        network, report = cast("tuple[PreTrainedModel, Mapping[str, Any]]", loaded)
    except Exception as error:
        # transformers raises many kinds of errors for values that fit no network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AssetError(f"{file} does not hold {title} as its config.json describes it: {reason}") from error
    wrong = sorted(report["missing_keys"]) + sorted(str(item[0]) for item in report["mismatched_keys"])
    if wrong:
        raise AssetError(
            f"{file} does not hold {title} as its config.json describes it: {len(wrong)} tensors are missing or have "
            f"another shape, such as {wrong[0]!r}"
        )
    nn.Module.float(network)
    network.eval()
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its list of unexpected tensors; missing ones are checked above."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
