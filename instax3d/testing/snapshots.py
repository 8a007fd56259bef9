"""Copies of records, to tell whether two hold the same and whether one was changed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from instax3d.types import StepEvent


def snapshot(value: Any) -> Any:
    """A copy of all that a record holds; of functions, what a step's ``current`` returns."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if is_dataclass(value):
        parts = {each.name: snapshot(getattr(value, each.name)) for each in fields(value)}
        return parts | ({"current": snapshot(value.current())} if isinstance(value, StepEvent) else {})
    if isinstance(value, Mapping):
        return {key: snapshot(each) for key, each in value.items()}
    return [snapshot(each) for each in value] if isinstance(value, list | tuple) else value


def same(one: Any, other: Any) -> bool:
    """Whether two such copies are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
