"""From a checkpoint to what answers."""

from collections.abc import Callable, Mapping

from agentgym.policies.checkpoint import UPSTREAM, Checkpoint, load_trainable_policy
from agentgym.policies.upstream import UpstreamConfig
from agentgym.serving.engine import Engine, PolicyEngine, PolicyWorker
from agentgym.serving.upstream_engine import UpstreamEngine
from agentgym.store import ArtifactRef, open_store


def engine_loader(environment: Mapping[str, str]) -> Callable[[ArtifactRef], Engine]:
    """Loads the engines of one replica, which share a thread to act on.   environment: where the keys of upstreams are."""
    worker = PolicyWorker()

    def load_engine(ref: ArtifactRef) -> Engine:
        checkpoint = Checkpoint.from_bytes(open_store(ref.uri).read(ref))
        if checkpoint.manifest.policy == UPSTREAM:
            return UpstreamEngine(UpstreamConfig.model_validate(checkpoint.manifest.configuration), environment)
        return PolicyEngine(load_trainable_policy(checkpoint), worker)

    return load_engine
