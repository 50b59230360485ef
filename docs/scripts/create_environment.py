"""Traces become an agent to ask, its tools, and a reward: `python docs/scripts/create_environment.py [LOG]`, offline.

Without a log it writes one of a made-up support desk first.
"""

import sys
import tempfile
from pathlib import Path

import agentgym
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs

CONVERSATIONS = 200


def write_example_log(path: Path) -> Path:
    """A log such as a support desk leaves behind, one conversation a line."""
    world = CustomerSupport()
    traces = write_logs(world, world.legacy_agent(), CONVERSATIONS, seed=0)
    path.write_text("".join(trace.model_dump_json(exclude_defaults=True) + "\n" for trace in traces))
    return path


def main(log: Path) -> None:
    query_agent, tool_mocker, reward_fn = agentgym.create_environment(log)
    environment = query_agent.environment
    print(environment)

    # What customers on record asked first, answered by the record's nearest situation; calls are answered from the record too.
    recorded = next(trace for trace in environment.traces if any(message.tool_calls for message in trace.messages))
    first_words = next(message.content for message in recorded.messages if message.role == "user")
    answer = query_agent(first_words)
    print("customer:", first_words)
    for call in answer.calls:
        print("calls:   ", call.name, call.arguments)
    print("agent:   ", answer)

    # Several turns: the reply before goes back in.
    more = query_agent("Thank you. Anything else I should know?", conversation=answer)
    print("agent:   ", more)

    # A tool by hand, as the agent on record called it.
    call = next(call for message in recorded.messages for call in message.tool_calls)
    print("tool:    ", call.name, "->", tool_mocker(call.name, call.arguments))

    # What a response is worth beside the right one, and beside what the record did in the most alike situation.
    print("reward:  ", reward_fn(answer), dict(reward_fn.terms(answer)))
    print("reward:  ", reward_fn("I do not know.", ground_truth=answer.words or "It is done."))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(write_example_log(Path(folder) / "log.jsonl"))
