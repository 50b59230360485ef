"""The machine an installation runs on: Python and its packages, disk, memory, and what is told to whom."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

import agentgym
from agentgym.settings import Settings, quiet_environment
from tasks.health.finding import Finding, Look, ok, problem, warning

LEAST_PYTHON = (3, 11)
# A stack takes 0.9 GB, and 2.5 GB with an endpoint.
ENOUGH_MEMORY_BYTES, LEAST_MEMORY_BYTES = 3 * 2**30, 512 * 2**20
# The demo leaves about 100 MB; below the least, Prefect's in-process server does not start.
ENOUGH_DISK_BYTES, LEAST_DISK_BYTES = 2 * 2**30, 64 * 2**20
_SHOWN_PACKAGES = 5
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def machine_looks(settings: Settings) -> dict[str, Look]:
    lock = Path(agentgym.__file__).parent.parent / "requirements.lock"
    return {
        "python": look_at_python,
        "packages": lambda: look_at_packages(lock),
        "workspace": lambda: look_at_workspace(settings),
        "disk": lambda: look_at_disk(shutil.disk_usage(_nearest_folder(settings.workspace)).free),
        "memory": lambda: look_at_memory(psutil.virtual_memory().available),
        "telemetry": lambda: look_at_telemetry(settings, os.environ),
        "exposure": lambda: look_at_exposure(settings),
    }


def look_at_python() -> Iterator[Finding]:
    now = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= LEAST_PYTHON:
        yield ok("python", f"Python {now}.")
    else:
        yield problem("python", f"AgentGym needs Python 3.11 or later; this is {now}.", "Install one, and run `make setup` with it.")


def look_at_packages(lock: Path) -> Iterator[Finding]:
    if not lock.exists():
        yield ok("packages", "There is no requirements.lock to compare the packages with.")
        return
    differing = [told for line in lock.read_text().splitlines() if (told := _difference(line)) is not None]
    if differing:
        more = f" and {len(differing) - _SHOWN_PACKAGES} more" if len(differing) > _SHOWN_PACKAGES else ""
        told = f"{', '.join(differing[:_SHOWN_PACKAGES])}{more}"
        yield warning("packages", f"Packages are tested together as requirements.lock pins them; here {told}.", "Run `make setup`.")
    else:
        yield ok("packages", "Every package has the version of requirements.lock.")


def look_at_workspace(settings: Settings) -> Iterator[Finding]:
    workspace = settings.workspace
    if not workspace.exists():
        yield ok("workspace", f"Nothing is kept yet; {workspace} is made when something is.")
        return
    try:
        with tempfile.TemporaryFile(dir=workspace):
            yield ok("workspace", f"{workspace} can be written to.")
    except OSError as error:
        yield problem("workspace", f"The workspace must be a folder to write in; {workspace} said {error}.", "Set AGENTGYM_WORKSPACE.")


def look_at_disk(free_bytes: int) -> Iterator[Finding]:
    yield _amount("disk", free_bytes, ENOUGH_DISK_BYTES, LEAST_DISK_BYTES, "Free some space, or set AGENTGYM_WORKSPACE.")


def look_at_memory(available_bytes: int) -> Iterator[Finding]:
    yield _amount(
        "memory", available_bytes, ENOUGH_MEMORY_BYTES, LEAST_MEMORY_BYTES, "End what is not needed; without a stack less will do."
    )


def look_at_telemetry(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    off = quiet_environment(settings.model_copy(update={"telemetry": False}))
    on = quiet_environment(settings.model_copy(update={"telemetry": True}))
    switches = {name: off[name] for name in off.keys() - on.keys()}
    turned = sorted(name for name, is_off in switches.items() if environment.get(name, is_off) != is_off)
    if settings.telemetry:
        yield warning("telemetry", "The platforms below report how they are used: AGENTGYM_TELEMETRY is true.", "Unset it to stop that.")
    elif turned:
        told = ", ".join(f"{name}={environment[name]}" for name in turned)
        yield warning("telemetry", f"Telemetry is off unless asked for; the environment has {told}.", "Unset it to stop that.")
    else:
        yield ok("telemetry", "Nothing is reported to anybody.")


def look_at_exposure(settings: Settings) -> Iterator[Finding]:
    if settings.endpoint_host in _LOOPBACK:
        yield ok("exposure", f"The endpoint listens at {settings.endpoint_host} only.")
    else:
        yield warning(
            "exposure",
            f"The endpoint listens beyond this machine, at {settings.endpoint_host}, without TLS.",
            "Put a proxy with TLS before it, or unset AGENTGYM_ENDPOINT_HOST.",
        )


def _difference(line: str) -> str | None:
    """What is installed instead of a line of the lock; None where it is as pinned, or only pinned for other machines."""
    pin, _, marker = line.partition(";")
    name, is_pin, wanted = pin.strip().partition("==")
    if not is_pin or name.startswith("#"):
        return None
    try:
        # A build of its own, as torch's for the CPU, is the same version.
        found = version(name).partition("+")[0]
    except PackageNotFoundError:
        return None if marker else f"{name} is missing"
    return None if found == wanted else f"{name} is {found}, not {wanted}"


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _amount(name: str, amount: int, enough: int, least: int, repair: str) -> Finding:
    statement = f"{amount / 2**30:.1f} GiB of {name} are free"
    if amount < least:
        return problem(name, f"{statement}; nothing starts with less than {least / 2**20:,.0f} MiB.", repair)
    if amount < enough:
        return warning(name, f"{statement}; a stack wants {enough / 2**30:.0f} GiB.", repair)
    return ok(name, f"{statement}.")
