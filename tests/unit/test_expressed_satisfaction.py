"""Words of satisfaction: learned where they tell, refused where they do not."""

import numpy as np
import pytest

from agentgym.errors import InsufficientData
from agentgym.messages import assistant, user
from agentgym.reward import SatisfactionWords
from agentgym.reward.expressed import reaction

CUSTOMERS = [f"c{number}" for number in range(60)]
GLAD = [number % 2 == 0 for number in range(60)]
SAID = ["thanks that was great" if is_glad else "this was a waste" for is_glad in GLAD]


def test_who_speaks_like_satisfied_customers_is_read_as_one() -> None:
    words = SatisfactionWords.fit(SAID, [float(is_glad) for is_glad in GLAD], CUSTOMERS)
    glad, angry = words.read("Great, thanks!"), words.read("What a waste")
    assert glad is not None
    assert angry is not None
    assert 0 <= angry < 0.5 < glad <= 1


def test_a_customer_without_a_word_that_tells_is_unknown() -> None:
    words = SatisfactionWords.fit(SAID, [float(is_glad) for is_glad in GLAD], CUSTOMERS)
    assert words.read("Hm") is None


def test_words_that_do_not_tell_are_not_learned() -> None:
    """Scores drawn by chance: over 20 draws at most a few may pass, as the interval's lower end is above 0 once in 40."""
    learned = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        said = [" ".join(rng.choice(["red", "blue", "green", "grey", "white", "black"], 3)) for _ in CUSTOMERS]
        try:
            SatisfactionWords.fit(said, [float(score) for score in rng.integers(0, 2, 60)], CUSTOMERS)
        except InsufficientData:
            continue
        learned += 1
    assert learned <= 3


@pytest.mark.parametrize(("count", "level"), [(29, None), (60, 1.0)], ids=["too few", "all alike"])
def test_too_little_to_learn_from_is_told(count: int, level: float | None) -> None:
    satisfaction = [float(is_glad) if level is None else level for is_glad in GLAD]
    with pytest.raises(InsufficientData, match="at least 30 customers who were not all as satisfied"):
        SatisfactionWords.fit(SAID[:count], satisfaction[:count], CUSTOMERS[:count])


def test_how_a_customer_came_says_nothing_of_how_they_were_served() -> None:
    assert reaction((user("I am furious!"), assistant("Done."), user("Lovely."))) == "Lovely."
    assert reaction((user("I am furious!"),)) == ""
