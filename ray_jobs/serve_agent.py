"""Serves an agent until it is told to end: `python -m ray_jobs.serve_agent --spec FILE|URI`.

It starts the Ray Serve application and keeps it in line with the registry, the tests and the log of traffic plans. Standard output has one
`Serving` line once the first plan is held by every replica. Exit code 0: it was told to end; 2: the input is bad; anything else: try again.
If it dies, the replicas on a cluster go on with the plan they have; started again, it takes over.
"""

import argparse
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from signal import SIGINT, SIGTERM, signal
from typing import TYPE_CHECKING

from agentgym.errors import AgentGymError, Unavailable
from agentgym.settings import Settings, read_settings, silence
from ray_jobs.orphan import end_with_parent
from ray_jobs.spec import ServeAgentSpec, Serving, read_spec

if TYPE_CHECKING:
    from agentgym.serving.deployment import ServedApplication

POLL_SECONDS = 0.1
SIGN_IN_SECONDS = 5.0
# Whoever moves a champion brings traffic in line themselves; the endpoint does it for those who died in between.
GRACE_SECONDS = 2.0
RECHECK_SECONDS = 2.0
START_SECONDS = 180.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; what went wrong is the last line on standard error."""
    parser = argparse.ArgumentParser(prog="ray_jobs.serve_agent", description="Serve an agent, as a spec file says.")
    parser.add_argument("--spec", required=True, help="path, file:// or s3:// of a ServeAgentSpec")
    parser.add_argument("--result", help="not used; every job is started alike")
    given = parser.parse_args(arguments)
    stopped = threading.Event()
    _end_on_signals(stopped)
    end_with_parent(os.environ)
    try:
        run(read_spec(given.spec, ServeAgentSpec), stopped)
    except AgentGymError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def run(spec: ServeAgentSpec, stopped: threading.Event) -> None:
    """Serves until `stopped` is set."""
    settings = read_settings()
    silence(settings, os.environ)
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    ray_address = _ray_to_join(settings, os.environ)
    if ray_address is None:
        # Ray's own ports are open to the network whatever it is told; with a secret of this run nobody else can use them.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    # Only now: the libraries below read their environment when they are imported.
    from agentgym.serving.deployment import Address, ServedApplication, serving_ray
    from agentgym.serving.replica import ReplicaOptions

    address = Address(host=spec.host, port=spec.port)
    _refuse_taken_port(address.host, address.port)
    options = ReplicaOptions(
        agent=spec.agent, database_url=settings.experience_url, replicas=spec.replicas, torch_threads=settings.torch_threads
    )
    with serving_ray(address, ray_address=ray_address):
        # Ray has put a handler of its own in the place of ours, which would leave without signing out.
        _end_on_signals(stopped)
        _Keeper(spec, settings, ServedApplication(options, address), address.url).keep_until(stopped)


class _Keeper:
    """Keeps what is served in line with what was decided."""

    def __init__(self, spec: ServeAgentSpec, settings: Settings, application: "ServedApplication", url: str) -> None:
        from agentgym.ab_tests.test_log import ABTestLog
        from agentgym.registry.ledger import open_ledger
        from agentgym.serving.traffic_log import TrafficLog

        self._agent, self._settings, self._application, self._url = spec.agent, settings, application, url
        self._ledger = open_ledger(settings.tracking_uri, spec.agent, history_url=settings.history_url)
        self._tests = ABTestLog(settings.experience_url, spec.agent)
        self._log = TrafficLog(settings.experience_url, spec.agent)
        self._handed_epoch = self._settled_epoch = 0
        self._settled: tuple[str, str | None] | None = None
        self._behind_since: float | None = None
        self._looked_at = 0.0
        self._signed_in_at = -SIGN_IN_SECONDS
        self._told = ""

    def keep_until(self, stopped: threading.Event) -> None:
        try:
            if self._first_plan_is_held(stopped):
                self._sign_in()
                print(Serving(url=self._url, epoch=self._settled_epoch).model_dump_json(), flush=True)
            while not stopped.wait(POLL_SECONDS):
                self._keep()
        finally:
            self._log.sign_out()

    def _first_plan_is_held(self, stopped: threading.Event) -> bool:
        """False when it was told to end before. Raises Unavailable when it takes too long, or a version that is needed does not load."""
        deadline = time.monotonic() + START_SECONDS
        while self._settled is None or self._settled[0] != "held":
            self._hand_over()
            if self._settled is not None and self._settled[0] == "refused":
                raise Unavailable(f"What is served must load; it does not: {self._settled[1]}. Restore its checkpoint, or roll back.")
            if stopped.wait(POLL_SECONDS):
                return False
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The endpoint must answer within {START_SECONDS:g} s; no replica does. Look at Ray's logs, and free some memory."
                )
        return True

    def _keep(self) -> None:
        """One look. A database that is away for a while stops no answer: it is told once, and looked at again."""
        try:
            self._sign_in()
            self._hand_over()
            self._steer_when_late()
            self._told = ""
        except AgentGymError as error:
            if str(error) != self._told:
                sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {error}\n")
                sys.stderr.flush()
            self._told = str(error)

    def _hand_over(self) -> None:
        """Hands the last plan to the replicas, and notes what they made of it."""
        latest = self._log.latest()
        if latest is not None and latest.plan.epoch > self._handed_epoch:
            self._application.put(latest.plan)
            self._handed_epoch = latest.plan.epoch
        is_news = self._handed_epoch > self._settled_epoch
        # Replicas try again what did not load, so it is worth another look.
        is_troubled = self._settled is not None and self._settled[1] is not None and time.monotonic() - self._looked_at > RECHECK_SECONDS
        if is_news or is_troubled:
            verdict = self._application.verdict_on(self._handed_epoch)
            self._looked_at = time.monotonic()
            if verdict[0] != "pending" and (is_news or verdict != self._settled):
                self._log.settle(self._handed_epoch, verdict[0], at=datetime.now(UTC), problem=verdict[1])
                self._settled, self._settled_epoch = verdict, self._handed_epoch

    def _steer_when_late(self) -> None:
        """Brings the plan in line for somebody who moved the champion and died before they could."""
        from agentgym.serving.steering import is_in_line, steer

        latest = self._log.latest()
        revision, _ = self._tests.latest()
        if is_in_line(latest.plan if latest else None, registry_sequence=self._ledger.sequence(), test_revision=revision):
            self._behind_since = None
            return
        self._behind_since = self._behind_since or time.monotonic()
        if time.monotonic() - self._behind_since > GRACE_SECONDS:
            # Where that fails, it is tried again after as long.
            self._behind_since = None
            from agentgym.registry import ModelRegistry

            registry = ModelRegistry(self._settings.tracking_uri, self._agent, history_url=self._settings.history_url)
            steer(registry, self._tests, self._log, now=datetime.now(UTC))

    def _sign_in(self) -> None:
        if time.monotonic() - self._signed_in_at > SIGN_IN_SECONDS:
            self._log.sign_in(self._url, at=datetime.now(UTC))
            self._signed_in_at = time.monotonic()


def _ray_to_join(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """The Ray to serve on: that of the settings, or the one a Ray job runs in; None for one of its own.

    The address of Ray Jobs (http) says where to send jobs and not where to serve.
    """
    addresses = (settings.ray_address, environment.get("RAY_ADDRESS"))
    return next((address for address in addresses if address and not address.startswith("http")), None)


def _end_on_signals(stopped: threading.Event) -> None:
    for signal_number in (SIGTERM, SIGINT):
        signal(signal_number, lambda *_: stopped.set())


def _refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"The endpoint needs its port to itself; {host}:{port} said {error.strerror}. "
                "Stop what listens there, or choose another with --port."
            ) from error


if __name__ == "__main__":
    sys.exit(main())
