from collections import Counter
from pathlib import Path

import pytest

from agentgym.environments.play import play_episode
from agentgym.errors import InvalidInput
from agentgym.messages import assistant, system, user
from agentgym.reward import RewardWeights
from agentgym.scenarios import ScenarioPack, ScenarioRegistry, WorldScenario
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.trace import Trace

SCENARIO = ScenarioRegistry().load("customer_support")
assert isinstance(SCENARIO, WorldScenario)
LOG = tuple(write_logs(SCENARIO, SCENARIO.legacy_agent(), 300, 7))


def test_the_world_has_the_declared_tools_kinds_and_criteria() -> None:
    assert len(SCENARIO.tools) == 11
    assert set(SCENARIO.world.intents) == {"password_reset", "billing_inquiry", "api_integration", "refund_request", "data_migration"}
    assert SCENARIO.success_criteria() == {"tool_reliability": 0.95, "cost_reduction": 0.30, "time_saving": 0.98}
    assert str(SCENARIO).startswith("customer_support (medium): ")


def test_every_argument_says_what_it_is() -> None:
    undescribed = [
        (tool.name, name) for tool in SCENARIO.tools for name, schema in tool.properties.items() if not schema.get("description")
    ]
    assert undescribed == []


def test_a_case_is_told_by_kind_customer_and_number() -> None:
    case = SCENARIO.case(kind="refund_request", customer="CUS-00007", number=12)
    assert SCENARIO.case_by_id(case.case_id) == case
    assert SCENARIO.case(kind="refund_request", customer="CUS-00007", number=13) != case


def test_a_customer_stays_the_same_person_in_all_cases() -> None:
    cases = [SCENARIO.case(kind=kind, customer="CUS-00007", number=3) for kind in SCENARIO.world.intents]
    assert len({(case.facts["email"], case.persona) for case in cases}) == 1


def test_thousands_of_cases_are_distinct() -> None:
    cases = list(SCENARIO.generate_cases(2000, seed=1))
    assert len({case.model_dump_json(exclude={"case_id", "seed"}) for case in cases}) == 2000
    assert len({tuple(call.name for call in case.expected_calls) for case in cases}) >= 12


def test_kinds_come_in_the_declared_shares() -> None:
    kinds = Counter(case.kind for case in SCENARIO.generate_cases(1000, seed=4))
    total = sum(intent.share for intent in SCENARIO.world.intents.values())
    for kind, intent in SCENARIO.world.intents.items():
        share = intent.share / total
        assert abs(kinds[kind] - 1000 * share) < 4 * (1000 * share * (1 - share)) ** 0.5  # four standard deviations


@pytest.mark.parametrize("case_id", ["refund_request", "refund_request/CUS-1", "refund_request/CUS-1/x", "holiday/CUS-1/2"])
def test_an_id_that_no_case_has_is_refused(case_id: str) -> None:
    with pytest.raises(InvalidInput):
        SCENARIO.case_by_id(case_id)


def test_a_logged_conversation_replays_word_for_word() -> None:
    for trace in LOG[:60]:
        replayed = SCENARIO.assess_trace(trace)
        assert (replayed.messages, replayed.outcome) == (trace.messages, trace.outcome)
        assert replayed.agent_tokens == trace.agent_tokens


def test_a_log_cut_short_is_assessed_as_far_as_it_goes() -> None:
    whole = next(trace for trace in LOG if len(trace.messages) > 8)
    assessed = SCENARIO.assess_trace(whole.model_copy(update={"messages": whole.messages[:3]}))
    assert assessed.messages == whole.messages[: len(assessed.messages)]
    assert not assessed.is_success


@pytest.mark.parametrize(
    ("customer", "tags"),
    [
        ("CUS-00001", {}),
        ("CUS-00001", {"kind": "holiday", "case": "1"}),
        ("CUS-00001", {"kind": "refund_request", "case": "first"}),
        (None, {"kind": "refund_request", "case": "1"}),
    ],
)
def test_a_trace_of_another_world_is_refused(customer: str | None, tags: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="has a customer_id and the tags kind and case"):
        SCENARIO.case_from_trace(Trace(conversation_id="c-1", messages=(user("Hello"),), customer_id=customer, tags=tags))


def test_what_is_logged_after_the_end_is_not_played() -> None:
    longer = LOG[0].model_copy(update={"messages": (*LOG[0].messages, assistant("Are you still there?"))})
    assert SCENARIO.assess_trace(longer).messages == LOG[0].messages


def test_an_environment_pays_by_other_weights_when_asked() -> None:
    generous = SCENARIO.create_environment(reward=RewardWeights(resolved=1000.0))
    case = SCENARIO.case(kind="password_reset", customer="CUS-00001", number=1)
    assert play_episode(generous, SCENARIO.expert(), case, seed=0).reward > 1000


def test_a_trace_of_another_version_of_the_world_is_refused() -> None:
    older = LOG[0].model_copy(update={"messages": (system("Ticket TCK-1. Be nice."), *LOG[0].messages[1:])})
    with pytest.raises(InvalidInput, match="Ticket TCK-1"):
        SCENARIO.case_from_trace(older)


def test_a_log_that_leaves_the_system_message_out_is_accepted() -> None:
    bare = LOG[0].model_copy(update={"messages": LOG[0].messages[1:]})
    assert SCENARIO.case_from_trace(bare) == SCENARIO.case_from_trace(LOG[0])


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'lucky'"):
        SCENARIO.assess_trace(LOG[0].model_copy(update={"tags": LOG[0].tags | {"seed": "lucky"}}))


def test_a_pack_holds_the_logged_cases_and_fresh_ones_of_the_same_customers() -> None:
    held_out_customers = {trace.customer_id for trace in LOG[:20]}
    train = [trace for trace in LOG if trace.customer_id not in held_out_customers]
    held_out = [trace for trace in LOG if trace.customer_id in held_out_customers]
    pack = SCENARIO.make_pack(train, held_out, "0" * 64, fresh_per_trace=2)
    assert len(pack.train) == 3 * len(train)
    assert len({case.case_id for case in pack.train}) == len(pack.train)
    assert {case.cluster_id for case in pack.train} == {trace.customer_id for trace in train}
    assert ScenarioPack.from_bytes(pack.to_bytes()) == pack


def test_the_reward_is_broadcast_to_every_turn() -> None:
    trajectory = SCENARIO.assess_trace(LOG[0])
    assert SCENARIO.broadcast_rewards(trajectory) == [trajectory.reward] * len(trajectory.actions)


def test_savings_are_measured_against_the_baselines_of_a_ticket() -> None:
    played = [SCENARIO.assess_trace(trace) for trace in LOG[:50]]
    metrics = SCENARIO.calculate_metrics(played)
    assert metrics["cost_reduction"] == pytest.approx(1 - metrics["agent_tokens"] / 500)
    assert metrics["time_saving"] == pytest.approx(1 - metrics["simulated_seconds"] / 240)


def test_a_good_agent_meets_all_the_criteria() -> None:
    environment, expert = SCENARIO.create_environment(), SCENARIO.expert()
    metrics = SCENARIO.calculate_metrics([play_episode(environment, expert, case, seed=1) for case in SCENARIO.generate_cases(200, seed=2)])
    assert all(metrics[name] >= threshold for name, threshold in SCENARIO.success_criteria().items())


def test_the_legacy_agent_is_as_faulty_as_its_logs_should_be() -> None:
    metrics = SCENARIO.calculate_metrics([SCENARIO.assess_trace(trace) for trace in LOG])
    assert 0.60 <= metrics["tool_reliability"] <= 0.70
    assert 0.60 <= metrics["success_rate"] <= 0.90


def test_satisfaction_follows_from_the_outcome() -> None:
    scores = {trace.outcome: trace.satisfaction_score for trace in LOG if trace.satisfaction_score is not None}
    assert scores["resolved"] > scores["abandoned"]  # type: ignore[index]


def test_logs_hold_what_a_log_holds() -> None:
    rated = sum(trace.satisfaction_score is not None for trace in LOG)
    assert 0.3 < rated / len(LOG) < 0.5
    assert len({trace.customer_id for trace in LOG}) < 0.7 * len(LOG)
    assert [trace.started_at for trace in LOG] == sorted(trace.started_at for trace in LOG)  # type: ignore[type-var]
    assert {trace.agent_version for trace in LOG} == {"legacy"}


def test_equal_seeds_write_equal_logs() -> None:
    first, second, other = (tuple(write_logs(SCENARIO, SCENARIO.legacy_agent(), 20, seed)) for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_a_world_is_declared_in_any_number_of_files(tmp_path: Path) -> None:
    source = (Path(__file__).parents[1] / "worlds" / "lending_library" / "world.yaml").read_text()
    head, marker, tail = source.partition("intents:\n")
    (tmp_path / "world.yaml").write_text(head)
    (tmp_path / "intents.yaml").write_text(marker + tail)
    assert WorldScenario.from_folder(tmp_path).name == "lending_library"
