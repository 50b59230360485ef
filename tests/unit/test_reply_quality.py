"""The parts of a reply's quality, each by an example that lacks it alone."""

import pytest

from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.reward.quality import mean_quality, reply_quality

QUESTION = user("Where is my parcel 4711?")


def missing(reply: str, *before: object) -> set[str]:
    parts = reply_quality(reply, before or (QUESTION,))  # type: ignore[arg-type]
    return {name for name, holds in parts.items() if not holds}


@pytest.mark.parametrize("reply", ["Your parcel arrives tomorrow.", "Which street is it, please?"], ids=["takes it up", "asks"])
def test_a_plain_answer_lacks_nothing(reply: str) -> None:
    assert missing(reply) == set()


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        ("Parcel.", "length"),
        ("The parcel " + " ".join(f"stop{number}x" for number in range(150)), "length"),
        ("Your parcel is with {carrier_name} now.", "finished"),
        ("Dear [your name], the parcel is late.", "finished"),
        ('<tool_call>{"name": "find_parcel"}</tool_call>', "spoken"),
        ('The parcel: {"arguments": {"id": 1}}', "spoken"),
        ("I am so glad that you are asking me this.", "answers"),
        ("Where is my parcel 4711?", "answers"),
    ],
)
def test_what_is_wrong_with_a_reply_has_a_name(reply: str, part: str) -> None:
    assert part in missing(reply)


def test_a_reply_said_before_and_a_loop_of_words_are_not_fresh() -> None:
    again = "Your parcel is on its way."
    assert missing(again, QUESTION, assistant(again), QUESTION) == {"fresh"}
    loop = "the parcel is on its way to your house in the city of Rome and "
    assert missing(loop * 2) == {"fresh"}


def test_what_a_tool_told_is_an_answer() -> None:
    call = ToolCall(name="find")
    told = (QUESTION, assistant("", call), tool_result(call, {"status": "delayed"}))
    assert missing("It seems to be delayed.", *told) == set()
    assert missing("It seems to be delayed.", QUESTION) == {"answers"}


def test_an_agent_that_never_speaks_has_no_quality() -> None:
    assert mean_quality((QUESTION, assistant(""))) == 0.0
    assert mean_quality((QUESTION, assistant("Your parcel is late."), user("Thanks"), assistant("Ok"))) == pytest.approx((5 + 3) / 2 / 5)
