"""One seam for every way to learn: a checkpoint and experience in, a checkpoint and its curve out."""

from collections.abc import Callable, Mapping

import torch
from pydantic import JsonValue

from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.train import OnIteration, OnResumePoint, device_of, train_policy
from agentgym.training.methods.distill import learn_distill
from agentgym.training.methods.dpo import learn_dpo
from agentgym.training.methods.experience import Experience
from agentgym.training.methods.lesson import Lesson
from agentgym.training.methods.rft import learn_rft
from agentgym.training.methods.sft import learn_sft
from agentgym.training.result import Trained
from agentgym.training.resume_point import ResumePoint

_METHODS: Mapping[str, Callable[[Lesson], Mapping[str, JsonValue]]] = {
    "sft": learn_sft,
    "rft": learn_rft,
    "dpo": learn_dpo,
    "distill": learn_distill,
}


def run_method(
    start: Checkpoint,
    experience: Experience,
    config: TrainingConfig,
    *,
    environment: Mapping[str, str] | None = None,
    on_iteration: OnIteration = lambda _: None,
    resume_point: ResumePoint | None = None,
    on_resume_point: OnResumePoint = lambda _: None,
    resume_every: int | None = None,
    ray_address: str | None = None,
) -> Trained:
    """The policy of `start` after `config.method`, and its curve; equal arguments give equal weights.

    environment: where the key of an upstream that teaches is looked up.
    resume_point, on_resume_point, resume_every, ray_address: for Flow-GRPO alone; the other methods are short, run here, and begin again.
    Raises InsufficientData when there is nothing to learn from, InvalidInput when loss or gradient stop being finite.
    """
    config.require_fit(scenario=experience.pack.scenario, policy=start.manifest.policy)
    if config.method == "flow_grpo":
        return train_policy(
            experience.pack,
            start,
            config,
            on_iteration=on_iteration,
            resume_point=resume_point,
            on_resume_point=on_resume_point,
            resume_every=resume_every,
            ray_address=ray_address,
        )
    torch.set_num_threads(config.torch_threads)
    lesson = Lesson(
        policy=load_trainable_policy(start, device=device_of(start.manifest.policy, config.gpu)),
        experience=experience,
        config=config,
        settings=config.methods,
        environment=environment or {},
        on_iteration=on_iteration,
    )
    found = _METHODS[config.method](lesson)
    training: dict[str, JsonValue] = {config.method: {**config.as_record(), "learned_from": dict(found)}}
    checkpoint = start.with_weights_of(lesson.policy, training=training, lineage=_lineage(experience, config.method))
    return Trained(checkpoint=checkpoint, curve=lesson.curve, trajectories=lesson.played)


def _lineage(experience: Experience, method: str) -> dict[str, str]:
    teacher = experience.teacher if method == "distill" else None
    return {"pack": experience.pack.digest, **({"teacher": teacher.digest} if isinstance(teacher, Checkpoint) else {})}
