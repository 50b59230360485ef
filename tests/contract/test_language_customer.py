"""A customer played by a language model over real HTTP: a small server on loopback that answers by rules, and fails on demand."""

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from agentgym.environments.language_model import LanguageModel, LanguageModelConfig
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Outcome, Trajectory
from agentgym.errors import InvalidInput, SimulatorFailed, Unavailable
from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.upstream import UpstreamConfig
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.settings import read_settings
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.flow_grpo.rollouts import Draw, Player, Playground
from agentgym.verdicts import Subject
from tasks.language_model import language_model

KEY = "sk-very-secret"
FIND = ToolCall(name="find_hotel", arguments={"city": "Rome"})
BOOK = ToolCall(name="book_hotel", arguments={"hotel": "Inn Seven", "nights": "4"})
PROPERTIES: dict[str, Any] = {name: {"type": "string"} for name in ("city", "hotel", "nights")}
TOOLS = tuple(Tool(name=name, parameters={"type": "object", "properties": PROPERTIES}) for name in ("find_hotel", "book_hotel"))


def trace_of(number: int) -> Trace:
    messages = (
        user("I need a hotel."),
        assistant("Where?"),
        user("In Rome."),
        assistant("", FIND),
        tool_result(FIND, [{"hotel": "Inn Seven", "secret": "QX-99"}]),
        assistant("There is the Inn Seven."),
        user("Take the Inn Seven for 4 nights."),
        assistant("", BOOK),
        tool_result(BOOK, {"status": "booked"}),
        assistant("Booked."),
        user("Thanks."),
    )
    return Trace(conversation_id=f"c{number}", messages=messages, tools=TOOLS, outcome=Outcome.RESOLVED)


@dataclass
class Model:
    """What it answers, and what it was asked: key and body of each request."""

    url: str
    answer: Callable[[dict[str, Any]], tuple[int, bytes]] = lambda body: said(rules(body))
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def said(content: object) -> tuple[int, bytes]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def rules(body: dict[str, Any]) -> str:
    """A customer by rules, who knows what its brief and the agent told."""
    brief, heard = body["messages"][0]["content"], body["messages"][-1]["content"]
    if "Booked" in heard:
        return "Customer: Thanks. ###STOP###"
    if "Where" in heard:
        return "<think>They ask for the city.</think>In Rome." if "city: Rome" in brief else "###UNKNOWN### I do not know."
    if "Inn Seven" in heard:
        return "The Inn Seven for 4 nights."
    return "###UNKNOWN### I do not know that." if "?" in heard else "I need a hotel."


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    # A proxy that is not there: what stays on this machine does not go through it.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.asked.append((self.headers.get("authorization", ""), body))
            status, content = known.answer(body)
            # Who gave up waiting reads it no more.
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known = Model(url=f"http://127.0.0.1:{server.server_port}/v1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield known
        server.shutdown()


def config(model: Model, **given: Any) -> LanguageModelConfig:
    return LanguageModelConfig(**{"base_url": model.url, "model": "small", "pause_seconds": 0, "api_key": SecretStr(KEY), **given})


def scenario(model: Model, **given: Any) -> RecordedScenario:
    pack = make_recorded_pack([trace_of(number) for number in range(4)], (), "digest")
    return RecordedScenario(pack, customer="language", model=LanguageModel(config(model, **given)))


class Script:
    """An agent that does the next of these things, and the last one for ever."""

    def __init__(self, *actions: Message) -> None:
        self._actions = actions

    def act(self, conversation: Conversation) -> Action:
        done = sum(message.role == "assistant" for message in conversation.messages)
        return Action(message=self._actions[min(done, len(self._actions) - 1)])


GOOD = Script(assistant("Where?"), assistant("", FIND), assistant("There is the Inn Seven."), assistant("", BOOK), assistant("Booked."))


def play(model: Model, agent: Script = GOOD, **given: Any) -> Trajectory:
    return play_episode(scenario(model, **given).create_environment(), agent, recorded_case(trace_of(0)), seed=0)


def customer_words(trajectory: Trajectory) -> list[str]:
    return [message.content for message in trajectory.messages if message.role == "user"]


def test_a_model_plays_the_customer_to_the_end(model: Model) -> None:
    trajectory = play(model)
    assert customer_words(trajectory) == ["I need a hotel.", "In Rome.", "The Inn Seven for 4 nights.", "Thanks."]
    assert (trajectory.outcome, trajectory.missing_calls, trajectory.simulator_errors) == (Outcome.RESOLVED, (), 0)
    assert all(judged.is_correct for judged in trajectory.calls)


def test_the_model_is_asked_with_its_key_and_the_words_alone(model: Model) -> None:
    """The customer's own words are the model's, the agent's are its user's; no call and no result is among them."""
    play(model)
    key, body = model.asked[3]
    assert (key, body["model"]) == (f"Bearer {KEY}", "small")
    assert [(line["role"], line["content"]) for line in body["messages"][1:]] == [
        ("assistant", "I need a hotel."),
        ("user", "Where?"),
        ("assistant", "In Rome."),
        ("user", "There is the Inn Seven."),
        ("assistant", "The Inn Seven for 4 nights."),
        ("user", "Booked."),
    ]


def test_what_only_a_tool_told_is_in_no_request_before_the_agent_says_it(model: Model) -> None:
    play(model)
    first_game = [json.dumps(body) for _, body in model.asked[1:]]
    assert ["Inn Seven" in body for body in first_game] == [False, True, True]
    assert not any("QX-99" in body for body in first_game)


def test_the_brief_tells_goal_manner_facts_and_when_to_tell_them(model: Model) -> None:
    play(model)
    brief = model.asked[1][1]["messages"][0]["content"]
    assert "How you are: friendly, writes tersely." in brief
    assert "- I need a hotel." in brief
    assert "- city: Rome (say it only when asked)" in brief


def test_equal_seeds_ask_with_equal_seeds(model: Model) -> None:
    play(model)
    play(model)
    seeds = [body["seed"] for _, body in model.asked]
    assert seeds[: len(seeds) // 2] == seeds[len(seeds) // 2 :]
    assert len(set(seeds)) > 1


def test_a_question_the_brief_has_no_answer_to_is_the_simulators_error(model: Model) -> None:
    trajectory = play(model, Script(assistant("What is your name?")))
    assert trajectory.simulator_errors == 3
    assert customer_words(trajectory)[1] == "I do not know that."


def test_patience_ends_an_episode_with_an_agent_that_stalls(model: Model) -> None:
    trajectory = play(model, Script(assistant("I see.")))
    assert (trajectory.outcome, trajectory.is_truncated) == (Outcome.ABANDONED, False)
    assert len(customer_words(trajectory)) == 1 + 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [("###STOP###", None), ("Bye. ###STOP###", "Bye."), ("User: Bye ###STOP", "Bye"), ("### TRANSFER ### Bye.", "Bye.")],
)
def test_markers_are_never_said(model: Model, answer: str, words: str | None) -> None:
    model.answer = lambda body: said(answer)
    trajectory = play(model, Script(assistant("Well.")))
    assert customer_words(trajectory)[1:2] == ([words] if words else [])
    assert not any("#" in said_words for said_words in customer_words(trajectory))


def test_a_passing_failure_is_tried_again(model: Model) -> None:
    answers = iter([said("Hi"), (500, b"busy"), (429, b"slow down"), *[said("Bye. ###STOP###")] * 3])
    model.answer = lambda body: next(answers)
    assert customer_words(play(model, Script(assistant("Well."))))[1] == "Bye."
    assert len({body["seed"] for _, body in model.asked[1:]}) == 3


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"down"),
        (200, b"<html>"),
        said(""),
        said(None),
        said(["a"]),
        said("x" * 5000),
        said("<think>hm</think>"),
        (200, b'{"choices":[]}'),
    ],
    ids=["500", "no json", "empty", "null", "list", "endless", "thoughts only", "no choice"],
)
def test_a_model_that_gives_no_words_fails_the_episode_after_its_tries(model: Model, answer: tuple[int, bytes]) -> None:
    environment = scenario(model).create_environment()
    model.answer = lambda body: answer
    with pytest.raises(SimulatorFailed, match="A language model must answer"):
        play_episode(environment, GOOD, recorded_case(trace_of(0)), seed=0)
    assert len(model.asked) == 1 + 3


def test_a_marker_without_words_fails_the_episode(model: Model) -> None:
    environment = scenario(model).create_environment()
    model.answer = lambda body: said("###TRANSFER###")
    with pytest.raises(SimulatorFailed, match="must say something as the customer; it said '###TRANSFER###'"):
        play_episode(environment, GOOD, recorded_case(trace_of(0)), seed=0)


def test_a_silent_model_fails_the_episode_in_time(model: Model) -> None:
    is_over = threading.Event()
    environment = scenario(model, timeout_seconds=0.1, tries=2).create_environment()
    model.answer = lambda body: (is_over.wait(30), said("Hi"))[1]
    with pytest.raises(SimulatorFailed, match=r"must answer within 0\.1 s"):
        play_episode(environment, GOOD, recorded_case(trace_of(0)), seed=0)
    is_over.set()


def test_a_model_that_dribbles_is_not_waited_for_for_ever() -> None:
    """A byte now and then is no silence; the whole answer has its time too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_over = threading.Event()

        def dribble() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            with suppress(OSError):
                while not is_over.wait(0.02):
                    connection.sendall(b" ")

        threading.Thread(target=dribble, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with pytest.raises(Unavailable, match=r"must answer within 0\.2 s"):
            LanguageModel(LanguageModelConfig(base_url=url, model="small", timeout_seconds=0.2)).require_answer()
        is_over.set()


def test_a_model_that_is_away_is_unavailable_before_anything_is_played() -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        away = Model(url=f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/v1")
        with pytest.raises(Unavailable, match="A language model must be reachable") as caught:
            scenario(away).create_environment()
    assert not isinstance(caught.value, SimulatorFailed)


def test_a_wrong_key_is_bad_input_before_anything_is_played_and_is_not_told(model: Model) -> None:
    model.answer = lambda body: (401, json.dumps({"error": {"message": f"Wrong key {KEY}"}}).encode())
    with pytest.raises(InvalidInput, match="answered 401: 'Wrong key") as caught:
        scenario(model).create_environment()
    assert KEY not in str(caught.value)
    assert len(model.asked) == 1


def test_a_refusal_in_an_episode_is_not_tried_again(model: Model) -> None:
    environment = scenario(model).create_environment()
    model.answer = lambda body: (400, b"too long")
    with pytest.raises(SimulatorFailed, match="answered 400"):
        play_episode(environment, GOOD, recorded_case(trace_of(0)), seed=0)
    assert len(model.asked) == 1 + 1


def test_a_failed_customer_is_a_failure_of_the_evaluation_and_not_a_score(model: Model) -> None:
    played = scenario(model)
    answers = iter([said("Hi"), (400, b"no")])
    model.answer = lambda body: next(answers, None) or said(rules(body))
    cases = [recorded_case(trace_of(number)) for number in range(4)]
    report = evaluate_policy(GOOD, played, cases, subject=Subject(name="good", checkpoint_digest="d"), seed=0)
    assert [(failure.case_id, failure.error[:15]) for failure in report.failures] == [("c0", "SimulatorFailed")]
    assert [row.case_id for row in report.rows] == ["c1", "c2", "c3"]
    assert report.estimates["success_rate"].mean == 1.0


class Batch(Script):
    """The same agent, as the learning algorithm asks it."""

    identity: ClassVar[dict[str, str]] = {}

    def act_batch(self, conversations: list[Conversation], *, rng: object) -> list[Action]:
        return [self.act(conversation) for conversation in conversations]


def test_a_failed_customer_leaves_the_group(model: Model) -> None:
    played = scenario(model)
    playground = Playground(
        create_environment=played.create_environment,
        broadcast_rewards=played.broadcast_rewards,
        cases=tuple(recorded_case(trace_of(number)) for number in range(2)),
    )
    answers = iter([said("Hi"), (400, b"no")])
    model.answer = lambda body: next(answers, None) or said(rules(body))
    draws = [Draw(place=0, group_id=0, seed=0)]
    sample = Player(playground, group_size=3).play(Batch(*GOOD._actions), draws, weights_digest="w", rng=None)  # type: ignore[arg-type]
    assert len(sample.rollouts) == 2
    assert [crash.error[:15] for crash in sample.crashes] == ["SimulatorFailed"]
    assert all(rollout.trajectory.is_success for rollout in sample.rollouts)


def test_a_model_travels_to_another_process_without_its_connection(model: Model) -> None:
    asked = LanguageModel(config(model))
    asked.require_answer()
    pickle.loads(pickle.dumps(asked)).require_answer()
    assert len(model.asked) == 2


def test_the_key_is_in_no_text_of_the_model(model: Model) -> None:
    asked = LanguageModel(config(model))
    assert KEY not in f"{asked.config!r} {asked.config} {asked.config.model_dump_json()}"


def test_the_model_is_named_by_the_environment(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTGYM_LLM_BASE_URL", f"{model.url}/")
    monkeypatch.setenv("AGENTGYM_LLM_API_KEY", KEY)
    monkeypatch.setenv("AGENTGYM_LLM_MODEL", "small")
    named = language_model(read_settings())
    assert (named.config.base_url, named.config.model) == (model.url, "small")
    named.require_answer()
    assert model.asked[0][0] == f"Bearer {KEY}"


def test_a_model_that_is_not_named_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTGYM_LLM_BASE_URL", raising=False)
    monkeypatch.setenv("AGENTGYM_LLM_MODEL", "small")
    with pytest.raises(InvalidInput, match=r"AGENTGYM_LLM_BASE_URL is not set\. Set them as \.env\.example shows"):
        language_model(read_settings())


@pytest.mark.parametrize("address", ["host/v1", "http://me:secret@host/v1"])
@pytest.mark.parametrize("made", [LanguageModelConfig, UpstreamConfig])
def test_an_address_that_is_none_is_refused_by_either_side(made: type[Any], address: str) -> None:
    with pytest.raises(InvalidInput, match="'s address is http") as caught:
        made(base_url=address, model="small")
    assert "secret" not in str(caught.value)
