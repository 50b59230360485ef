"""`agentgym chat`: be the customer, on the terminal."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson
from rich.markup import escape

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.client import AgentGym
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, to_openai_messages, tool_result, user
from agentgym.settings import Settings

if TYPE_CHECKING:
    from agentgym.environments.case import Case
    from agentgym.environments.world import WorldTools

_MOST_CALLS_IN_A_ROW = 20


def run_chat(*, agent: str, url: str | None, scenario: str | None, case: int, is_json: bool) -> None:
    """Reads the customer's words line by line until the input ends."""
    with session(is_json=is_json) as run:
        key = _key(run.settings)
        tools = _Tools(scenario, case)
        if not is_json:
            run.screen.show(*tools.introduction(), "[dim]An empty line ends the conversation.[/]", "")
        with AgentGym(key, base_url=url or f"http://{run.settings.endpoint_host}:{run.settings.endpoint_port}/v1") as client:
            conversation = _Conversation(client, agent, tools, run.screen)
            for words in _lines(run.screen):
                conversation.say(words)
        run.screen.finish(conversation.summary())


class _Tools:
    """What the agent's calls do in a world's case; without a world nothing is offered."""

    def __init__(self, scenario: str | None, case_number: int) -> None:
        self.briefing: tuple[Message, ...] = ()
        self.declared: list[dict[str, Any]] = []
        self.customer = "terminal"
        self.tags: dict[str, str] = {}
        self._case: Case | None = None
        self._world: WorldTools | None = None
        if scenario is not None:
            self._open(scenario, case_number)

    def _open(self, scenario: str, number: int) -> None:
        from agentgym.environments.world import WorldTools
        from agentgym.scenarios.registry import load_world

        world = load_world(scenario)
        self._case = next(iter(world.generate_cases(1, seed=number)))
        self._world = WorldTools(world.world)
        self.briefing = self._world.open(self._case)
        # With these, what was said here can be judged and learned from like any other conversation of the world.
        self.customer = self._case.cluster_id
        self.tags = {"kind": self._case.kind, "case": self._case.case_id.rpartition("/")[2]}
        self.declared = [dict(tool.to_openai()) for tool in self._world.tools]

    def introduction(self) -> list[str]:
        if self._case is None:
            return ["No tools are offered; name a --scenario to have a world with tools behind the conversation."]
        known = {name: fact for name, fact in self._case.facts.items() if fact is not None and not name.endswith("_at_first")}
        facts = ", ".join(f"{name.replace('_', ' ')} {fact}" for name, fact in known.items())
        return [f"You are customer {self._case.cluster_id}. You want: {self._case.goal}", f"You know: {facts}"]

    def answer(self, call: ToolCall) -> Message:
        assert self._world is not None, "without a world nothing is offered that could be called"
        known = {tool.name: tool for tool in self._world.tools}
        problems = known[call.name].violations(call.arguments) if call.name in known else [f"There is no tool {call.name!r}."]
        return tool_result(call, {"error": "; ".join(problems)} if problems else self._world.execute(call).result)


class _Conversation:
    """One conversation with the endpoint, shown as it goes."""

    def __init__(self, client: AgentGym, agent: str, tools: _Tools, screen: Screen) -> None:
        self._client, self._agent, self._tools, self._screen = client, agent, tools, screen
        self._messages: list[Message] = list(tools.briefing)
        self._id: str | None = None
        self._version: str | None = None

    def say(self, words: str) -> None:
        """The customer's words, and everything the agent does until it is their turn again."""
        self._messages.append(user(words))
        for _ in range(_MOST_CALLS_IN_A_ROW):
            message = self._next()
            self._messages.append(message)
            if message.content:
                self._screen.show(f"[bold]{self._agent}[/] [dim]version {self._version}[/]  {escape(message.content)}")
            if not message.tool_calls:
                return
            for call in message.tool_calls:
                self._messages.append(self._shown(call, self._tools.answer(call)))

    def summary(self) -> dict[str, Any]:
        return {"conversation_id": self._id, "version": self._version, "messages": to_openai_messages(self._messages)}

    def _next(self) -> Message:
        from agentgym.traces.importers.chat import read_message

        answer = self._client.chat(
            self._agent,
            to_openai_messages(self._messages),
            tools=self._tools.declared,
            user=self._tools.customer,
            metadata=self._tools.tags,
            conversation_id=self._id,
        )
        self._id, self._version = answer.conversation_id, answer.version
        return read_message(dict(answer.message))

    def _shown(self, call: ToolCall, result: Message) -> Message:
        self._screen.show(
            f"  [cyan]calls[/]   {call.name} {escape(orjson.dumps(call.arguments).decode())}",
            f"  [dim]answer  {escape(orjson.dumps(result.result).decode()[:120])}[/]",
        )
        return result


def _lines(screen: Screen) -> Iterator[str]:
    """The customer's lines; a prompt only where a person types."""
    is_person = sys.stdin.isatty() and not screen.is_json
    while True:
        if is_person:
            sys.stderr.write("you  ")
            sys.stderr.flush()
        line = sys.stdin.readline().strip()
        if not line:
            return
        yield line


def _key(settings: Settings) -> str:
    if settings.api_key is None:
        raise InvalidInput("The endpoint asks for a key; AGENTGYM_API_KEY is not set. Set it, with one made by `agentgym keys create`.")
    return settings.api_key.get_secret_value()
