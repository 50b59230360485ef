import pytest
from pydantic import ValidationError

from agentgym.errors import InvalidInput
from agentgym.scenarios.from_traces import RECORDED
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.methods.settings import DPOSettings, MethodSettings

GROUPS_OF_FOUR = FlowGRPOSettings(group_size=4)


def test_a_recorded_scenario_is_trained_more_gently_than_a_declared_world():
    recorded, declared = (TrainingConfig.suited_to(name, seed=3) for name in (RECORDED, "customer_support"))
    assert declared == TrainingConfig(seed=3, num_env_runners=2)
    assert (recorded.seed, recorded.scenario) == (3, RECORDED)
    assert recorded.iterations < declared.iterations
    assert recorded.learning_rate < declared.learning_rate
    assert recorded.flow_grpo.kl_coefficient > declared.flow_grpo.kl_coefficient


def test_episodes_asked_for_replace_the_suited_ones():
    assert TrainingConfig.suited_to(RECORDED, episodes=16).episodes == 16


@pytest.mark.parametrize("config", [TrainingConfig(), TrainingConfig.suited_to(RECORDED), TrainingConfig(seed=None, gpu="cpu", reward={})])
def test_a_configuration_survives_json(config):
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("scenario", "Customer"),
        ("scenario", "customer support"),
        ("scenario", "customer_"),
        ("scenario", ""),
        ("policy", "forest"),
        ("method", "ppo"),
        ("episodes", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("discount_factor", 0),
        ("discount_factor", 1),
        ("batch_size", 0),
        ("checkpoint_interval", -1),
        ("seed", -1),
        ("gpu", "tpu"),
        ("num_env_runners", -1),
        ("time_limit_seconds", 0),
        ("framework", "langchain"),
        ("provider", "runpod"),
    ],
)
def test_what_breaks_a_rule_is_named_with_what_was_given(field, given):
    asked = {"scenario": "customer_support", field: given}
    with pytest.raises(InvalidInput, match=rf"by the rules of its fields; {field}: .*, got "):
        TrainingConfig.suited_to(**asked)


def test_every_mistake_is_in_one_message():
    with pytest.raises(InvalidInput, match=r"episodes: .*; learning_rate: "):
        TrainingConfig.suited_to("customer_support", episodes=0, learning_rate=0)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"policy": "causal_lm"}, "causal_lm needs a base_model"),
        ({"base_model": "tiny"}, "is for policy 'causal_lm'"),
        ({"method": "sft", "flow_grpo": GROUPS_OF_FOUR}, "flow_grpo's settings are for method 'flow_grpo'"),
        ({"method": "sft", "discount_factor": 0.5, "max_staleness": 2}, "discount_factor and max_staleness: only method 'flow_grpo'"),
        ({"rank": 8}, "rank: only policy 'causal_lm' reads this"),
        ({"methods": MethodSettings(dpo=DPOSettings(beta=1))}, "are for the other methods"),
    ],
)
def test_a_field_that_nothing_would_read_is_refused(asked, told):
    with pytest.raises(ValidationError, match=told):
        TrainingConfig(**asked)


LANGUAGE = {"policy": "causal_lm", "base_model": "tiny"}


def test_a_language_model_learns_by_small_steps_whatever_the_method():
    on_policy, supervised = (TrainingConfig.suited_to("lookup", **LANGUAGE, method=method) for method in ("flow_grpo", "sft"))
    assert on_policy.learning_rate == supervised.learning_rate < TrainingConfig().learning_rate
    assert on_policy.flow_grpo.adam_epsilon == supervised.methods.fitting.adam_epsilon == 1e-8


def test_recorded_conversations_are_learned_gently_by_either_policy():
    planner, language = TrainingConfig.suited_to(RECORDED), TrainingConfig.suited_to(RECORDED, **LANGUAGE)
    assert planner.flow_grpo.kl_coefficient == language.flow_grpo.kl_coefficient > FlowGRPOSettings().kl_coefficient
    assert planner.episodes == language.episodes == TrainingConfig.suited_to(RECORDED, method="rft").episodes


def test_one_nested_setting_that_was_asked_for_leaves_the_others_suited():
    asked = TrainingConfig.suited_to("lookup", **LANGUAGE, flow_grpo={"credit": "state"})
    suited = TrainingConfig.suited_to("lookup", **LANGUAGE)
    assert asked.flow_grpo == suited.flow_grpo.model_copy(update={"credit": "state"})


@pytest.mark.parametrize(
    ("episodes", "iterations", "cases"),
    [
        (5, 1, 2),  # two groups of 4
        (4, 1, 1),
        (32, 1, 8),
        (33, 2, 5),  # 9 groups: 5 and 5, not 8 and 1
        (64, 2, 8),
    ],
)
def test_episodes_are_rounded_up_to_iterations_of_equal_size(episodes, iterations, cases):
    config = TrainingConfig(episodes=episodes, batch_size=8, flow_grpo=GROUPS_OF_FOUR)
    assert (config.iterations, config.cases_per_iteration) == (iterations, cases)
    assert iterations * cases * 4 >= episodes


def test_a_method_that_makes_examples_counts_rounds_or_epochs():
    methods = MethodSettings.model_validate({"rft": {"rounds": 3}, "fitting": {"epochs": 7}})
    assert [TrainingConfig(method=method, methods=methods).iterations for method in ("rft", "sft")] == [3, 7]


def test_a_seed_is_drawn_once_where_there_is_none():
    drawn = TrainingConfig(seed=None).with_seed_drawn()
    assert drawn.seed is not None
    assert drawn.with_seed_drawn() is drawn


def test_a_training_is_of_the_scenario_and_the_policy_it_is_configured_for():
    config = TrainingConfig()
    config.require_fit(scenario="customer_support", policy="planner")
    with pytest.raises(InvalidInput, match="configured for 'customer_support' and was given 'recorded'"):
        config.require_fit(scenario="recorded", policy="planner")
    with pytest.raises(InvalidInput, match="Name 'causal_lm' as its policy"):
        config.require_fit(scenario="customer_support", policy="causal_lm")


def test_what_a_checkpoint_keeps_does_not_depend_on_where_files_went():
    here, there = (TrainingConfig(output_dir=folder).as_record() for folder in ("here", "there"))
    assert here == there
    assert here["episodes"] == TrainingConfig().episodes
