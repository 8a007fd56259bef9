"""A stage cache that machines share through an object store."""

from instax3d.io.artifacts import Artifact
from instax3d.io.remote import download, upload
from instax3d.stages.cache import StageCache


class RemoteStages(StageCache):
    """The user's own cache on this machine, and behind it the results of other machines at a URL.

    Checkpoints stay on the machine: a construction whose machine is lost starts from scratch.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def load(self, stage: str, key: str) -> Artifact | None:
        path = self.path(stage, key)
        if not path.is_file():
            download(f"{self._url}/{path.name}", path)
        return super().load(stage, key)

    def store(self, stage: str, key: str, artifact: Artifact) -> None:
        super().store(stage, key, artifact)
        path = self.path(stage, key)
        upload(path, f"{self._url}/{path.name}")
