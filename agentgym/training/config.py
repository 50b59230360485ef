"""How a policy is trained: the whole configuration, saved with the checkpoint it made."""

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from agentgym.errors import InvalidInput
from agentgym.reward import RewardWeights
from agentgym.scenarios.from_traces import RECORDED
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.methods.settings import MethodSettings

PolicyKind = Literal["planner", "causal_lm"]
Method = Literal["flow_grpo", "sft", "rft", "dpo", "distill"]
Device = Literal["auto", "cpu", "cuda", "mps"]

SEED_LIMIT = 2**31
_OF_FLOW_GRPO = ("discount_factor", "checkpoint_interval", "num_env_runners", "num_learners", "max_staleness")
_OF_LANGUAGE = ("rank", "offers_candidates", "checkpoints_gradients")


def _named_as_scenarios_are(name: str) -> str:
    if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name):
        raise ValueError("a scenario's name is lowercase letters and underscores between them")
    return name


ScenarioName = Annotated[str, AfterValidator(_named_as_scenarios_are)]


class Learner(BaseModel):
    """What learns, whatever it learns from: all that its first policy depends on beside the conversations. The fields are those of
    `TrainingConfig`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: PolicyKind
    base_model: str | None
    rank: int
    offers_candidates: bool
    checkpoints_gradients: bool
    gpu: Device


class TrainingConfig(BaseModel):
    """One training run.

    scenario: the world, in lowercase letters and underscores; `recorded` for recorded conversations.   policy: what learns.
    method: how it learns.   base_model: for `causal_lm`: `tiny`, a folder, or a name on the hub.
    rank, offers_candidates, checkpoints_gradients: of `causal_lm`; see `CausalLMConfig`.
    episodes: rollouts to learn from, one episode being one rollout; rounded up to whole iterations, as `iterations` says. Rollouts drawn
    in place of groups that taught nothing (`flow_grpo.max_refills`) come on top.
    learning_rate: at its highest.   discount_factor: by how much less a reward counts for each turn it is away; it weighs credit by turns
    and changes nothing where a reward is broadcast to all turns of its episode alike.
    batch_size: cases an update learns from, each played `flow_grpo.group_size` times.   checkpoint_interval: iterations between the
    points an interrupted run goes on from; 0 for none.   seed: of everything random; None to have one drawn, and recorded.
    gpu: where networks are computed; `auto` takes a GPU where there is one.   output_dir: where `Trainer` makes the folder of the run.
    conversations: of the scenario's own agent of today, which `Trainer` has a first policy imitate; a fifth of the customers is held out.
    held_out_cases: what `Trainer` judges the result on, at least.
    num_env_runners: processes that play; 0 plays in the process that learns.   num_learners: processes that learn; 0 learns in this one.
    max_staleness: updates by which weights that play may be older than those that learn; 0 waits for every update.
    max_decisions_per_pass: that a learner's network computes at once, in whole rollouts; fewer take less memory and more time; None for
    all of an iteration.
    torch_threads: of each process.   time_limit_seconds: no iteration starts after it; None for no limit. A run stopped by the clock is
    not repeatable, one that ends by itself is.   reward: other weights than the scenario's own.   waive_audit: why a reward may train
    that its audit refuses.   flow_grpo: of that method alone.
    methods: of the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scenario: ScenarioName = "customer_support"
    policy: PolicyKind = "planner"
    method: Method = "flow_grpo"
    base_model: str | None = Field(default=None, min_length=1)
    rank: int = Field(default=16, ge=1, le=1024)
    offers_candidates: bool = True
    checkpoints_gradients: bool = False
    episodes: int = Field(default=46_080, ge=1, le=100_000_000)
    learning_rate: float = Field(default=6e-3, gt=0, le=1)
    discount_factor: float = Field(default=0.99, gt=0, lt=1)
    batch_size: int = Field(default=32, ge=1, le=4096)
    checkpoint_interval: int = Field(default=10, ge=0)
    seed: int | None = Field(default=0, ge=0, lt=SEED_LIMIT)
    gpu: Device = "auto"
    output_dir: Path = Path("models")
    conversations: int = Field(default=1000, ge=10, le=1_000_000)
    held_out_cases: int = Field(default=600, ge=2, le=1_000_000)
    num_env_runners: int = Field(default=0, ge=0, le=1024)
    num_learners: int = Field(default=0, ge=0, le=1024)
    max_staleness: int = Field(default=0, ge=0, le=64)
    max_decisions_per_pass: int | None = Field(default=None, ge=1)
    torch_threads: int = Field(default=1, ge=1, le=256)
    time_limit_seconds: float | None = Field(default=None, gt=0)
    reward: RewardWeights | None = None
    waive_audit: str | None = Field(default=None, min_length=1)
    flow_grpo: FlowGRPOSettings = FlowGRPOSettings()
    methods: MethodSettings = MethodSettings()

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        """A field that nothing would read is refused rather than ignored."""
        if self.policy == "causal_lm" and self.base_model is None:
            raise ValueError("causal_lm needs a base_model: 'tiny', a folder, or a name on the hub")
        if self.policy == "planner" and self.base_model is not None:
            raise ValueError(f"base_model {self.base_model!r} is for policy 'causal_lm'; a planner has none")
        if self.method != "flow_grpo" and self.flow_grpo != FlowGRPOSettings():
            raise ValueError(f"flow_grpo's settings are for method 'flow_grpo'; the method is {self.method!r}")
        if self.method != "flow_grpo" and (unread := self._changed(_OF_FLOW_GRPO)):
            raise ValueError(f"{' and '.join(unread)}: only method 'flow_grpo' reads this; the method is {self.method!r}")
        if self.policy == "planner" and (unread := self._changed(_OF_LANGUAGE)):
            raise ValueError(f"{' and '.join(unread)}: only policy 'causal_lm' reads this; a planner has no adapter")
        if self.method == "flow_grpo" and self.methods != MethodSettings():
            raise ValueError("methods' settings are for the other methods; the method is 'flow_grpo'")
        return self

    def _changed(self, names: Sequence[str]) -> list[str]:
        """Those of these fields that have another value than they have by themselves."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    @classmethod
    def suited_to(cls, scenario: str, **asked: Any) -> Self:
        """What works for a scenario of this name, with the fields of `asked` in place of its own.

        A declared world draws as many new cases as training asks for. A recorded scenario has only the recorded ones, which imitation has
        learned from already: on them a policy looks better than it is, so training is short, gentle, and held close to imitation.
        Raises InvalidInput with every mistake in one message.
        """
        try:
            return cls.model_validate({"scenario": scenario, **asked, **_suited(scenario, asked)})
        except ValidationError as error:
            raise InvalidInput(f"A training is configured by the rules of its fields; {_mistakes(error)}. Mend what is named.") from error

    def require_fit(self, *, scenario: str, policy: str) -> None:
        """Raises InvalidInput when the cases or the policy at hand are not those this configuration is for."""
        for name, configured, given in (("scenario", self.scenario, scenario), ("policy", self.policy, policy)):
            if configured != given:
                raise InvalidInput(
                    f"A training is of the {name} it is configured for; it is configured for {configured!r} and was given {given!r}. "
                    f"Name {given!r} as its {name}, or give what fits."
                )

    def with_seed_drawn(self) -> Self:
        """The same with a seed, drawn where there is none."""
        return self if self.seed is not None else self.model_copy(update={"seed": secrets.randbelow(SEED_LIMIT)})

    def as_record(self) -> dict[str, JsonValue]:
        """What a checkpoint keeps of how it was trained: all but where files went, so that equal trainings give equal checkpoints."""
        return self.model_dump(mode="json", exclude={"output_dir"})

    @property
    def learner(self) -> Learner:
        return Learner(**{name: getattr(self, name) for name in Learner.model_fields})

    @property
    def reads_reward(self) -> bool:
        """Whether the method learns by the reward, or chooses by it; where nobody reads it there is nothing to audit."""
        return self.method not in ("sft", "distill")

    @property
    def groups(self) -> int:
        """Cases to play in all, each `flow_grpo.group_size` times."""
        return -(-self.episodes // self.flow_grpo.group_size)

    @property
    def iterations(self) -> int:
        """Of Flow-GRPO: as few as can play all groups with no more than `batch_size` in each; 5 episodes are one small iteration.

        Of the others: rounds of rejection sampling, else epochs, which are no more than these.
        """
        if self.method == "flow_grpo":
            return -(-self.groups // self.batch_size)
        return self.methods.rft.rounds if self.method == "rft" else self.methods.fitting.epochs

    @property
    def cases_per_iteration(self) -> int:
        """The groups shared out evenly, so that every iteration learns from as much: `batch_size`, or less."""
        return -(-self.groups // self.iterations)


def _suited(scenario: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What suits scenario, policy and method together; nested settings that were asked for stand above it one by one."""
    is_language, method = asked.get("policy") == "causal_lm", asked.get("method", "flow_grpo")
    suited: dict[str, Any] = {"learning_rate": _ADAPTER_RATE} if is_language else {}
    if scenario == RECORDED:
        suited |= {"episodes": 3840}
    if method != "flow_grpo":
        suited |= {"methods": _OF_TOKENS_BESIDES} if is_language else {}
    elif scenario == RECORDED:
        suited |= {
            "batch_size": 48,
            "learning_rate": 1e-3,
            "flow_grpo": {**_GENTLE, **(_OF_TOKENS_BESIDES["fitting"] if is_language else {})},
        }
    elif is_language:
        suited |= {"batch_size": 16, "episodes": 3200, "flow_grpo": _OF_TOKENS}
    else:
        suited |= {"num_env_runners": 2}
    return {name: _above(value, asked.get(name)) for name, value in suited.items()}


def _above(suited: Any, asked: Any) -> Any:
    """The settings asked for above those that suit; what is no mapping replaces them whole."""
    if not isinstance(suited, Mapping) or not isinstance(asked, Mapping):
        return suited if asked is None else asked
    return {**suited, **{name: _above(suited.get(name), value) for name, value in asked.items()}}


def _mistakes(error: ValidationError) -> str:
    return "; ".join(_mistake(told["loc"], told["msg"].removeprefix("Value error, "), told["input"]) for told in error.errors())


def _mistake(place: Sequence[int | str], rule: str, given: object) -> str:
    """Without a place it is about fields that do not go together, and says itself what they are."""
    return f"{'.'.join(map(str, place))}: {rule}, got {given!r}" if place else rule


_GENTLE: Mapping[str, Any] = {"group_size": 8, "final_rate_share": 0.2, "epochs": 2, "kl_coefficient": 0.5}
_OF_TOKENS: Mapping[str, Any] = {"group_size": 8, "epochs": 2, "kl_coefficient": 0.0, "adam_epsilon": 1e-8, "final_rate_share": 0.2}
_OF_TOKENS_BESIDES: Mapping[str, Any] = {"fitting": {"adam_epsilon": 1e-8}}
_ADAPTER_RATE = 2e-3
