import io

import pytest
from rich.console import Console

from agentgym.cli.training_dashboard import Dashboard, iteration_line, seconds_left, sparkline, trend
from agentgym.training.config import TrainingConfig
from agentgym.training.result import IterationMetrics
from agentgym.training.trainer import TrainingProgress


def metrics(iteration, *, reliability=0.8, seconds=1.0, no_variance=0.25):
    return IterationMetrics(
        iteration=iteration,
        reward=20.0 + iteration,
        tool_reliability=reliability,
        success_rate=0.9,
        agent_tokens=111.0,
        simulated_seconds=2.34,
        zero_variance_share=no_variance,
        rollouts=16,
        crashes=0,
        decisions=100,
        sampling_seconds=seconds,
        learning_seconds=seconds,
        syncing_seconds=seconds,
    )


def drawn(board, **console):
    screen = Console(file=io.StringIO(), width=100, **console)
    screen.print(board)
    return screen.file.getvalue()


@pytest.fixture
def board():
    """A run of 4 iterations that has done 2."""
    board = Dashboard(config=TrainingConfig(episodes=64, batch_size=1), target=0.95, device="cpu")
    for number in (1, 2):
        board.take(TrainingProgress(stage="training", done=number, total=4, metrics=metrics(number, reliability=0.7 + 0.05 * number)))
    return board


def test_the_board_tells_everything_that_is_watched(board):
    told = " ".join(drawn(board).split())
    for part in (
        "customer_support · planner · flow_grpo · cpu",
        "32 of 64",
        "iteration 2 of 4",
        "80.0% ↑ of 95% wanted",
        "2.34 s",
        "simulated",
    ):
        assert part in told
    for part in ("111 a ticket", "▁█ 22.00", "25% of the groups", "about 0:00:06"):
        assert part in told


def test_before_the_first_iteration_the_board_tells_the_stage():
    board = Dashboard(config=TrainingConfig(), target=None, device="cpu")
    board.take(TrainingProgress(stage="imitation", done=3, total=100))
    assert "imitating" in drawn(board)


def test_what_is_not_known_is_no_number():
    board = Dashboard(config=TrainingConfig(method="sft"), target=None, device="cpu")
    board.take(TrainingProgress(stage="training", done=1, total=12, metrics=metrics(1, no_variance=None)))
    told = drawn(board)
    assert "wanted" not in told
    assert "- of the groups" in told


def test_a_line_tells_the_same_in_plain_letters():
    config = TrainingConfig(episodes=4 * 32 * 16)
    line = iteration_line([metrics(1), metrics(2, reliability=0.9)], config, target=0.95)
    assert line.isascii()
    assert line.startswith(
        "iteration 2 of 4  reliability 90.0% + of 95% wanted  reward 22.00  111 tokens  2.34 s simulated  no variance 25%"
    )


def test_methods_that_may_end_early_say_so():
    assert iteration_line([metrics(1)], TrainingConfig(method="sft"), target=None).startswith("iteration 1 of at most 12 ")


def test_time_left_is_of_training_alone():
    board = Dashboard(config=TrainingConfig(), target=0.95, device="cpu")
    board.take(TrainingProgress(stage="training", done=1, total=90, metrics=metrics(1)))
    assert "time left" in drawn(board)
    board.take(TrainingProgress(stage="after", done=1, total=600))
    assert "time left" not in drawn(board)


@pytest.mark.parametrize(
    ("values", "arrow"),
    [([0.5], "→"), ([0.5, 0.6], "↑"), ([0.6, 0.5], "↓"), ([0.9] * 10, "→"), ([0.2] * 20 + [0.9] * 5 + [0.905] * 5, "→")],
)
def test_the_arrow_compares_the_last_five_with_the_five_before(values, arrow):
    assert trend(values) == arrow


def test_the_curve_goes_from_the_lowest_to_the_highest_in_the_width_there_is():
    assert sparkline([0.0, 1.0]) == "▁█"
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([0.0, 0.0, 1.0, 1.0], width=2) == "▁█"
    assert sparkline([0.0, 1.0], is_plain=True).isascii()
    assert len(sparkline(list(range(1000)), width=48)) == 48


def test_the_time_left_is_that_of_the_last_ten_iterations():
    curve = [metrics(1, seconds=100.0), *(metrics(number, seconds=1.0) for number in range(2, 12))]
    assert seconds_left(curve, 21) == pytest.approx(10 * 3.0)
    assert seconds_left(curve, 11) == 0
