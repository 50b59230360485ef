"""How long training on a log would take here: what it took where it was measured, at the pace of this machine.

The pace is told by the simple learner, whose fits the forecast has timed anyway: so many seconds for each recorded call. It depends on the
machine, on what else runs on it, and on how long the conversations are and how many tools they offer, and so does training.
"""

from math import isfinite

from pydantic import BaseModel, ConfigDict, Field

from agentgym.evaluation.learning_curve import LearningCurve
from agentgym.scenarios.from_traces import RECORDED
from agentgym.traces.census import Census
from agentgym.training.config import TrainingConfig

# Measured on SGD, two cores, one thread of torch: seconds of the simple learner's fit for each call.
MEASURED_PACE = 0.0025
# Imitation: what it takes however little there is, in seconds, and for each call.
IMITATION_SECONDS, IMITATION_SECONDS_PER_CALL = 20.0, 0.02
# Playing: for each turn of the agent in each rollout.
PLAYING_SECONDS_PER_TURN = 0.004
# Starting Ray and Prefect, and the two evaluations: for each turn judged.
STARTING_SECONDS, JUDGING_SECONDS_PER_TURN = 45.0, 0.02
# How far the measured trainings were from what these rates say, as a factor either way.
SPREAD = 1.6


class TrainingTime(BaseModel):
    """An estimate in seconds of wall clock.

    low, high: as far as measured trainings were from it.   pace: seconds here for one where it was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    pace: float = Field(gt=0)

    def price(self, per_hour: float) -> tuple[float, float, float]:
        """What it costs at a price of the machine: expected, low, high, in the price's currency."""
        expected, low, high = (seconds * per_hour / 3600 for seconds in (self.seconds, self.low, self.high))
        return expected, low, high


def training_time(census: Census, curve: LearningCurve, conversations: int) -> TrainingTime:
    """Of `agentgym improve` on so many conversations like those counted, with the default policy and method."""
    largest = curve.points[-1]
    pace = largest.seconds / largest.calls / MEASURED_PACE
    share = conversations / census.conversations
    turns_each = census.agent_turns / census.conversations
    imitation = IMITATION_SECONDS + IMITATION_SECONDS_PER_CALL * census.calls * share
    playing = PLAYING_SECONDS_PER_TURN * TrainingConfig.suited_to(RECORDED, seed=0).episodes * turns_each
    judging = JUDGING_SECONDS_PER_TURN * census.agent_turns * share / 5
    seconds = pace * (STARTING_SECONDS + imitation + playing + judging)
    assert isfinite(seconds)
    return TrainingTime(seconds=seconds, low=seconds / SPREAD, high=seconds * SPREAD, pace=pace)
