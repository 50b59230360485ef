"""The recorded agent of a recording, as a policy: what honest work is in a scenario that is made from records."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from agentgym.environments.case import Case
from agentgym.environments.recording import Recording, read_recording
from agentgym.episode import Action, Conversation
from agentgym.errors import InvalidInput
from agentgym.messages import Message, assistant


class RecordedAgent:
    """Does in every case what its record did. It goes by the case's id in front of the conversation's, and by what has happened since."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._cases = {case.case_id: case for case in cases}
        self._recording_of: Callable[[str], Recording] = lru_cache(maxsize=1024)(self._read)

    def act(self, conversation: Conversation) -> Action:
        recording = self._recording_of(conversation.conversation_id.rpartition("#")[0])
        played = conversation.messages[len(recording.opening) :]
        turn = sum(message.role == "user" for message in played) - 1
        if turn >= len(recording.turns):
            return Action(message=assistant())
        made = _calls_since_the_customer(played)
        due = recording.turns[turn].calls[made:]
        return Action(message=assistant("", due[0].call) if due else assistant(recording.turns[turn].words))

    def _read(self, case_id: str) -> Recording:
        case = self._cases.get(case_id)
        if case is None or case.recording is None:
            raise InvalidInput(f"A recorded agent plays cases it has the recording of; {case_id!r} is none. Make it from the pack's cases.")
        return read_recording(case.recording)


def _calls_since_the_customer(messages: Iterable[Message]) -> int:
    count = 0
    for message in messages:
        count = 0 if message.role == "user" else count + len(message.tool_calls)
    return count
