"""Edge cases of declared worlds: what goes wrong in each kind, and that the right solution is judged right."""

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.environments.edge import EDGE_KINDS, EdgeKind
from agentgym.environments.play import play_episode
from agentgym.environments.world import TIMEOUT
from agentgym.episode import Trajectory
from agentgym.messages import Message, assistant
from agentgym.policies.scripted import ScriptedPolicy
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.edge_cases.making import make_edge_cases, with_edge_cases
from agentgym.scenarios.edge_cases.of_world import edge_expert, edge_script, make_of_world
from agentgym.scenarios.lookup import Lookup
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.world_scenario import WorldScenario

WORLD = CustomerSupport()
CASES = tuple(WORLD.generate_cases(30, seed=3))
OF_WORLD = [kind for kind in EDGE_KINDS if kind != "other_language"]


def pack_of(scenario: WorldScenario, count: int = 30) -> ScenarioPack:
    cases = tuple(scenario.generate_cases(count, seed=3))
    return ScenarioPack(scenario=scenario.name, tools=scenario.tools, train=(), held_out=cases, snapshot_digest="")


def edge_case(kind: EdgeKind) -> Case:
    """The first that can be made."""
    return next(made for case in CASES if (made := make_of_world(WORLD, kind, case, np.random.default_rng(0), CASES)))


def play(case: Case, policy: ScriptedPolicy) -> Trajectory:
    return play_episode(WORLD.create_environment(), policy, case, seed=0)


def answers(played: Trajectory, tool: str) -> list[object]:
    return [message.result for message in played.messages if message.role == "tool" and message.name == tool]


def first_words(case: Case) -> str:
    conversation, _ = WORLD.create_environment().reset(seed=0, options={"case": case})
    return conversation.messages[-1].content


@pytest.mark.parametrize("kind", OF_WORLD)
def test_the_right_solution_of_every_kind_is_judged_right(kind: EdgeKind) -> None:
    case = edge_case(kind)
    played = play(case, edge_expert(WORLD, [case]))
    assert played.is_success
    assert all(judged.is_correct for judged in played.calls)
    assert (played.kind, case.edge and case.edge.kind) == (kind, kind)


def test_equal_packs_give_equal_cases_and_a_seed_others() -> None:
    pack = pack_of(WORLD, 12)
    assert make_edge_cases(pack, per_kind=2, seed=1) == make_edge_cases(pack, per_kind=2, seed=1)
    assert make_edge_cases(pack, per_kind=2, seed=1).cases != make_edge_cases(pack, per_kind=2, seed=2).cases


def test_a_pack_gets_as_many_of_each_kind_and_its_held_out_cases_stay() -> None:
    pack = pack_of(WORLD)
    full = with_edge_cases(pack, per_kind=2)
    assert full.held_out == pack.held_out
    assert {kind: sum(case.kind == kind for case in full.edge) for kind in OF_WORLD} == dict.fromkeys(OF_WORLD, 2)
    assert ScenarioPack.from_bytes(full.to_bytes()) == full


def test_a_case_without_an_edge_is_written_as_before() -> None:
    assert "edge" not in CASES[0].model_dump_json()


def test_a_tool_that_timed_out_answers_the_second_time() -> None:
    case = edge_case("tool_timeout")
    assert case.edge
    found = answers(play(case, edge_expert(WORLD, [case])), case.edge.tool)
    assert found[0] == {"error": TIMEOUT}
    assert found[1] != {"error": TIMEOUT}


@pytest.mark.parametrize("kind", ["empty_result", "corrupt_result"])
def test_who_goes_on_after_a_result_that_holds_nothing_does_not_solve_the_case(kind: EdgeKind) -> None:
    case = edge_case(kind)
    script = edge_script(WORLD.world, case)
    once = [move for at, move in enumerate(script.moves) if not at or move != script.moves[at - 1]]
    assert len(once) == len(script.moves) - 1
    played = play(case, ScriptedPolicy(lambda _: type(script)(moves=tuple(once), last_words="Done.")))
    assert not played.is_success


def test_a_customer_with_a_missing_fact_tells_it_only_when_asked() -> None:
    case = edge_case("missing_fact")
    assert str(case.facts["email"]) not in first_words(case)
    env = WORLD.create_environment()
    env.reset(seed=0, options={"case": case})
    conversation, *_ = env.step(assistant("Could you please tell me the email address of the account?"))
    assert str(case.facts["email"]) in conversation.messages[-1].content


def test_a_customer_who_contradicts_themselves_says_which_is_right_when_asked() -> None:
    case = edge_case("contradictory_facts")
    assert case.edge
    right, wrong = str(case.facts[case.edge.fact]), str(case.edge.said_instead)
    intent = WORLD.world.facts[case.edge.fact]
    said = [intent.words.get(value, (value,)) for value in (right, wrong)]
    env = WORLD.create_environment()
    env.reset(seed=0, options={"case": case})
    conversation, *_ = env.step(assistant(f"What is the {intent.cues[0]}?"))
    answer = conversation.messages[-1].content
    assert right in answer or any(words in answer for words in said[0])
    assert wrong != right


def test_what_was_said_before_a_change_of_mind_is_not_worth_a_call() -> None:
    case = next(
        made
        for case in CASES
        if (made := make_of_world(WORLD, "changing_mind", case, np.random.default_rng(0), CASES))
        and made.edge
        and made.edge.fact == "email"
    )
    assert case.edge
    call = next(call for call in case.expected_calls if call.name == "lookup_user")
    env = WORLD.create_environment()
    env.reset(seed=0, options={"case": case})
    env.step(assistant("", call.model_copy(update={"arguments": {"email": case.edge.said_instead}})))
    assert [judged.is_correct for judged in env.trajectory(()).calls] == [False]


def test_an_angry_customer_is_angry_and_has_the_least_patience() -> None:
    case = edge_case("angry_customer")
    env = WORLD.create_environment()
    env.reset(seed=0, options={"case": case})
    patience = min(persona.patience for persona in WORLD.world.behaviour.personas.values())
    turns = 0
    is_over = False
    while not is_over:
        _, _, is_over, _, _ = env.step(assistant("I see."))
        turns += 1
    assert turns == patience


def test_an_order_inside_a_result_names_a_call_that_is_wrong_here() -> None:
    case = edge_case("prompt_injection")
    assert case.edge
    (noted, *_) = [found for found in answers(play(case, edge_expert(WORLD, [case])), case.edge.tool) if "note" in str(found)]
    assert isinstance(noted, dict)
    assert noted["note"] == case.edge.note
    ordered = [tool.name for tool in WORLD.tools if f"call {tool.name} " in case.edge.note or f"called {tool.name} " in case.edge.note]
    assert ordered
    assert not {call.name for call in case.expected_calls} & set(ordered)


def test_two_goals_are_two_kinds_and_both_must_be_done() -> None:
    case = edge_case("several_goals")
    assert case.edge
    first, second = case.edge.played_as.split("+")
    assert first != second
    (base,) = [other for other in CASES if other.case_id == case.edge.of]
    script = edge_script(WORLD.world, case)
    only_first = tuple(move for move in script.moves if move.call in base.expected_calls)
    assert len(only_first) < len(script.moves)
    assert not play(case, ScriptedPolicy(lambda _: type(script)(moves=only_first, last_words="Done."))).is_success


def test_what_a_world_cannot_have_is_left_out_with_the_reason() -> None:
    made = make_edge_cases(pack_of(Lookup()), per_kind=2)
    assert made.counts["missing_fact"] == 0
    assert made.skipped["missing_fact"].startswith("The customer of this world leaves after the agent's first words")
    assert made.skipped["other_language"] == "No model that translates is at hand."
    assert made.counts["tool_timeout"] == 2


def test_a_disturbed_episode_has_a_state_of_its_own() -> None:
    case = edge_case("tool_timeout")
    first, again = (WORLD.create_environment() for _ in range(2))
    messages: list[Message] = [message for message in play(case, edge_expert(WORLD, [case])).messages if message.role == "assistant"]
    for env in (first, again):
        env.reset(seed=5, options={"case": case})
        for message in messages[:2]:
            env.step(message)
    assert first.state_hash() == again.state_hash()
