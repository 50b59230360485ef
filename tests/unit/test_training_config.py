from agentgym.scenarios.from_traces import RECORDED
from agentgym.training.config import TrainingConfig


def test_a_recorded_scenario_is_trained_more_gently_than_a_declared_world():
    recorded, declared = (TrainingConfig.suited_to(name, seed=3) for name in (RECORDED, "customer_support"))
    assert declared == TrainingConfig(seed=3, num_env_runners=2)
    assert recorded.seed == 3
    assert recorded.iterations < declared.iterations
    assert recorded.flow_grpo.learning_rate < declared.flow_grpo.learning_rate
    assert recorded.flow_grpo.kl_coefficient > declared.flow_grpo.kl_coefficient


def test_a_number_of_iterations_asked_for_replaces_the_suited_one():
    assert TrainingConfig.suited_to(RECORDED, iterations=2).iterations == 2
