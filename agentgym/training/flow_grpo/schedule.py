"""How far an update goes, over a run."""

from agentgym.training.flow_grpo.settings import FlowGRPOSettings


def learning_rate(highest: float, settings: FlowGRPOSettings, iteration: int, iterations: int | None) -> float:
    """The learning rate of an iteration, counted from 0: it climbs while Adam has seen few gradients to scale by, then falls to the end.

    iterations: how many there will be; None keeps the rate as it is.
    """
    if iterations is None:
        return highest
    climbed = min(1.0, (iteration + 1) / (settings.warmup_share * iterations + 1))
    fallen = (1 - settings.final_rate_share) * min(1.0, iteration / iterations)
    return highest * climbed * (1 - fallen)
