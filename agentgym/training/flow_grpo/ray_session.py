"""A Ray to train on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray

OBJECT_STORE_BYTES = 200 * 1024**2


@contextmanager
def ray_session(*, cpus: int, address: str | None = None) -> Iterator[None]:
    """A Ray to run on inside the block: the one already connected, else the one at `address`, else a local one with `cpus` for actors.

    What it started or connected to is shut down at the end; a Ray that was there before stays. Ray's console output is off.
    """
    if ray.is_initialized():
        yield
        return
    _quiet()
    if address is not None:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        _start_local(cpus)
    try:
        yield
    finally:
        ray.shutdown()


def _start_local(cpus: int) -> None:
    """On loopback, without dashboard. Ray starts a process for each CPU it is given, so it gets no more than the actors need."""
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )


def _quiet() -> None:
    """RLlib warns of its own new API at each start, and at every iteration of a process that is being started again."""
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    logging.getLogger("ray.rllib.utils.actor_manager").setLevel(logging.CRITICAL)
