"""The redaction of a run: with the secret of its workspace, and without the made-up customers of a declared world."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from agentgym.scenarios.from_traces import RECORDED
from agentgym.scenarios.registry import load_world
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.settings import Settings
from agentgym.traces.importers import Record
from agentgym.traces.names import installed_name_finder
from agentgym.traces.redaction import Redactor
from agentgym.traces.secret import secret_to_look_with, workspace_secret
from agentgym.traces.source import TraceSource
from agentgym.traces.trace import Trace

SECRET_FILE = "redaction.key"


def redactor_of(source: TraceSource, settings: Settings, *, scenario: str = RECORDED) -> Redactor | None:
    """What redacts the source, None when it is to stay as it is. Raises InvalidInput where names cannot be found."""
    return _redactor(source, workspace_secret(settings.workspace / SECRET_FILE), scenario) if source.redact else None


def looking_redactor(source: TraceSource, settings: Settings) -> Redactor | None:
    """One for a look at the source, with the secret of the workspace where it has one: nothing is written, not even a secret."""
    return _redactor(source, secret_to_look_with(settings.workspace / SECRET_FILE), RECORDED) if source.redact else None


def secret_name(settings: Settings) -> str:
    """Tells one secret from another, and nothing about it: what is cached with one is not used with the other."""
    return hashlib.sha256(b"agentgym redaction\0" + workspace_secret(settings.workspace / SECRET_FILE)).hexdigest()[:16]


def _redactor(source: TraceSource, secret: bytes, scenario: str) -> Redactor:
    if scenario != RECORDED:
        # An unknown one is told before anything is read.
        _world(scenario)
    find_names = installed_name_finder() if source.redact_names else None
    return Redactor(secret, is_made_up=_MadeUp(scenario), find_names=find_names)


@dataclass(frozen=True)
class _MadeUp:
    """Which conversations are of a declared world's own customers. It is a value, so that it can go to another process.

    Its cases are made again from the customer's id and number, and played with the e-mails that follow from them: placeholders would
    fit none of it. Nobody is behind them. Every other conversation of the log is redacted, whatever the scenario.
    """

    scenario: str

    def __call__(self, record: Record) -> bool:
        if self.scenario == RECORDED:
            return False
        trace = record.to_trace()
        return isinstance(trace, Trace) and _world(self.scenario).has_case_of(trace)


@lru_cache(maxsize=8)
def _world(scenario: str) -> WorldScenario:
    """Read once, for it is asked about every conversation."""
    return load_world(scenario)
