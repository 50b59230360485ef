"""A step runs once for equal inputs, again when its work is gone, and is retried only when that can help."""

from collections import Counter
from pathlib import Path
from urllib.parse import urlparse
from uuid import uuid4

import pytest
from prefect import flow

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store
from tasks.step import cached_step, step

calls: Counter[str] = Counter()


@cached_step
def write_text(text: str, settings: Settings) -> ArtifactRef:
    calls[text] += 1
    return open_store(settings.store).write(text.encode(), suffix=".txt")


@flow
def writing(text: str, settings: Settings) -> ArtifactRef:
    return write_text(text, settings)


@pytest.fixture
def text() -> str:
    """New for each test, so that no other test's result can be the cached one."""
    return uuid4().hex


def test_a_step_with_equal_inputs_runs_once(text: str, settings: Settings) -> None:
    assert writing(text, settings) == writing(text, settings)
    assert calls[text] == 1


def test_a_step_runs_again_when_what_it_made_is_gone(text: str, settings: Settings) -> None:
    ref = writing(text, settings)
    Path(urlparse(ref.uri).path).unlink()
    assert writing(text, settings) == ref
    assert calls[text] == 2
    assert open_store(settings.store).read(ref) == text.encode()


def test_where_things_are_kept_does_not_make_inputs_differ(text: str, settings: Settings) -> None:
    writing(text, settings)
    writing(text, settings.model_copy(update={"torch_threads": 2}))
    assert calls[text] == 1


def test_a_step_with_other_inputs_runs(text: str, settings: Settings) -> None:
    writing(text, settings)
    writing(text + "!", settings)
    assert calls[text + "!"] == 1


@pytest.mark.parametrize(("error", "tries"), [(Unavailable("S3 must answer; it did not. Try again."), 2), (InvalidInput("No. No. No."), 1)])
def test_only_what_may_succeed_later_is_tried_again(error: Exception, tries: int, text: str) -> None:
    @step
    def fail(name: str) -> None:
        calls[name] += 1
        raise error

    with pytest.raises(type(error)):
        flow(lambda: fail.with_options(retries=1, retry_delay_seconds=0)(text), name="failing")()
    assert calls[text] == tries
