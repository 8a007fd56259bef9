"""`RayEngine`: jobs as tasks of a Ray cluster, this machine's or a larger one."""

from collections.abc import Callable, Iterator
from typing import Any

from instax3d.errors import ConfigError

from .engine import Engine
from .work import Job, Outcome, run_job

_RETRIES = 3
"""How often a job is given to another node after its own was lost; harmless, as cells appear in one step."""


class RayEngine(Engine):
    """Ray's workers. The store must be a folder that all nodes share, or a URL.

    Jobs of a node that is lost are given to others by Ray.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        gpu: bool = False,
        function: Callable[[Job], Outcome] = run_job,
    ) -> None:
        """Connect.

        Args:
            address: of a cluster; None starts Ray on this machine.
            workers: jobs side by side; as many as the cluster has processors, or GPUs with ``gpu``, by default.
            gpu: whether each job needs a GPU.
            function: what a worker calls with a job.

        Raises:
            ConfigError: Ray is not installed, or the cluster cannot be reached.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--engine ray needs Ray; try: pip install 'instax3d[ray]'") from error
        self._ray: Any = ray
        try:
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"cannot reach a Ray cluster at {address}: {error}; check --address") from error
        resources = ray.cluster_resources()
        self.workers = workers or max(1, int(resources.get("GPU" if gpu else "CPU", 1)))
        processors = max(1, int(resources.get("CPU", 1)) // self.workers)
        environment = {"env_vars": {name: str(processors) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}}
        self._task = ray.remote(function).options(
            num_cpus=processors, num_gpus=1 if gpu else 0, max_retries=_RETRIES, runtime_env=environment
        )
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        self._running[self._task.remote(job)] = job

    def as_completed(self) -> Iterator[tuple[Job, Outcome]]:
        references, _ = self._ray.wait(list(self._running), num_returns=1)
        for reference in references:
            job = self._running.pop(reference)
            try:
                yield job, self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield job, Outcome("failed", 0.0, f"the worker died: {' '.join(str(error).split())}")

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()
