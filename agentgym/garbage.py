"""How often Python looks for garbage in cycles, while nearly all that is made has none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ALLOCATIONS: Final = 100_000


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Looks for cycles of garbage a hundred times less often.

    Conversations are trees; looking for cycles in each batch of them took a quarter of the time of reading a log, a sixth of playing.
    """
    often = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)
