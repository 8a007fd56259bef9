"""Announces the callbacks `tensorboard` and `jsonl`."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.CALLBACK,
        name="tensorboard",
        target="instax3d_plugins.callbacks.tensorboard:TensorBoard",
        config="instax3d_plugins.callbacks.config:TensorBoardConfig",
        summary="Curves, renders and histograms of the construction for TensorBoard, by Lightning's logger.",
        imports=("tensorboard",),
        extra="tensorboard",
    )
    yield PluginSpec(
        kind=Kind.CALLBACK,
        name="jsonl",
        target="instax3d_plugins.callbacks.jsonl:Jsonl",
        config="instax3d_plugins.callbacks.config:JsonlConfig",
        summary="One line of JSON for each event, appended to a file.",
    )
