"""How like the recorded customer the simulated one is: how long they talk, and in which order they tell what they know."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.customer_profile import CustomerProfile, Fact, Saying
from agentgym.environments.recording import read_recording, result_of
from agentgym.environments.spoken import Words, is_telling, leaves
from agentgym.episode import Trajectory
from agentgym.messages import Message, assistant
from agentgym.scenarios.customers import profile_of, read_values, today_of
from agentgym.scenarios.from_traces import RecordedScenario, recorded_case
from agentgym.traces.matching import canonical
from agentgym.traces.trace import Trace

# What the recorded agent says when its record is over and the customer is still there.
_CLOSING = assistant("Is there anything else?")


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerMatch:
    """A simulated customer beside the recorded one it plays.

    recorded_turns, simulated_turns: how often each spoke.   recorded_facts: how many facts the recorded one told in words.
    told_facts: how many of these the simulated one told.   order_agreement: of the pairs of facts that both told in different turns, the
    share in the same order, 0–1 (Kendall's concordance); None where there is no such pair.   leaks: what only a tool told, and the
    simulated one said without having heard it.   has_abandoned: whether patience ended it.
    """

    conversation_id: str
    recorded_turns: int
    simulated_turns: int
    recorded_facts: int
    told_facts: int
    order_agreement: float | None
    leaks: tuple[str, ...]
    has_abandoned: bool
    simulator_errors: int


def match_customers(traces: Iterable[Trace], scenario: RecordedScenario, *, seed: int = 0) -> Iterator[CustomerMatch]:
    """The recorded agents of these traces, who say and call what they did, before customers who know nothing of the record's course.

    scenario: with `customer="goal"`, made from other traces than these, or it has learned from what it is judged on.
    """
    environment = scenario.create_environment(follows_record=False)
    for trace in traces:
        case = recorded_case(trace)
        yield match_customer(case, play_as_recorded(environment, case, seed=seed))


def play_as_recorded(environment: ConversationEnv, case: Case, *, seed: int) -> Trajectory:
    """The recorded agent's messages in their order, whatever the customer says, until the customer leaves."""
    environment.reset(seed=seed, options={"case": case})
    recorded = [message for message in _from_first_words(case) if message.role == "assistant"]
    step = 0
    has_ended = False
    while not has_ended:
        action = recorded[step] if step < len(recorded) else _CLOSING
        _, _, is_terminated, is_truncated, _ = environment.step(action)
        has_ended = is_terminated or is_truncated
        step += 1
    return environment.trajectory(())


def match_customer(case: Case, trajectory: Trajectory, *, profile: CustomerProfile | None = None) -> CustomerMatch:
    """An episode of the case, by any agent and with any customer, against the case's recording.   profile: None mines it."""
    assert case.recording is not None, "only recorded cases have a customer to be compared with"
    profile = profile or profile_of(case.recording)
    said = [message.content for message in trajectory.messages if message.role == "user"]
    recorded = [fact for fact in profile.facts if fact.turn is not None]
    turns = {_key(fact): turn for fact in recorded if (turn := _first_telling(said, fact, case.recording)) is not None}
    return CustomerMatch(
        conversation_id=case.case_id,
        recorded_turns=1 + sum(turn.reply is not None for turn in read_recording(case.recording).turns),
        simulated_turns=len(said),
        recorded_facts=len(recorded),
        told_facts=len(turns),
        order_agreement=_order_agreement([(fact.turn or 0, turns[_key(fact)]) for fact in recorded if _key(fact) in turns]),
        leaks=tuple(leaks(case.recording, profile, trajectory.messages)),
        has_abandoned=trajectory.outcome == "abandoned",
        simulator_errors=trajectory.simulator_errors,
    )


def leaks(trace: Trace, profile: CustomerProfile, messages: Sequence[Message]) -> Iterator[str]:
    """What the customer of an episode said although only tools tell it: in the record nobody had it from the customer, and in the episode
    the agent had not said it yet."""
    results = [message for message in (*trace.messages, *messages) if message.role == "tool"]
    told = dict.fromkeys(canonical(value) for message in results for _, value in leaves(result_of(message)) if is_telling(value))
    own = " ".join(saying.text for saying in _sayings(profile))
    only_heard = {need for saying in _sayings(profile) for need in saying.needs}
    agreed = " ".join(canonical(fact.value) for fact in profile.facts if fact.turn is None)
    known = Words(text=f"{own} {agreed}", today=today_of(trace), read=read_values)
    suspicious = [value for value in told if value in only_heard or not (known.says(value) or known.resembles(value))]
    heard = ""
    for message in messages:
        if message.role == "assistant":
            heard += f" {message.content}"
        elif message.role == "user":
            words, before = (Words(text=text, today=known.today, read=read_values) for text in (message.content, heard))
            yield from (value for value in suspicious if words.spells(value) and not before.says(value))


def _sayings(profile: CustomerProfile) -> Iterator[Saying]:
    return (saying for errand in profile.errands for utterance in errand.utterances for saying in utterance.sayings)


def _first_telling(said: Sequence[str], fact: Fact, trace: Trace) -> int | None:
    today = today_of(trace)
    texts = (Words(text=text, today=today, read=read_values) for text in said)
    return next((at for at, words in enumerate(texts) if (fact.words and fact.words in words.text) or words.says(fact.value)), None)


def _order_agreement(turns: Sequence[tuple[int, int]]) -> float | None:
    pairs = [(left[0] - right[0], left[1] - right[1]) for left, right in combinations(turns, 2)]
    telling = [recorded * simulated > 0 for recorded, simulated in pairs if recorded and simulated]
    return sum(telling) / len(telling) if telling else None


def _key(fact: Fact) -> tuple[str, str]:
    return fact.name, canonical(fact.value)


def _from_first_words(case: Case) -> Sequence[Message]:
    messages = case.recording.messages if case.recording else ()
    start = next(at for at, message in enumerate(messages) if message.role == "user")
    return messages[start:]
