"""Registered versions, and which of them is champion: no gate can be walked around, and every change is told.

MLflow holds the versions and shows the aliases `champion`, `challenger` and `previous`; the ledger holds the truth about them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from agentgym.errors import ContractBroken, InvalidInput, Refused
from agentgym.registry.gates import (
    has_left,
    in_words,
    named,
    needs_no_verdict,
    require_challenger,
    require_offline_verdict,
    require_online_verdict,
    subject_named,
    was_challenged,
    was_promoted,
)
from agentgym.registry.ledger import ALIASES, Alias, HistoryEntry, Ledger, LockedLedger, Pointer, Standing, history_url_beside
from agentgym.store import ArtifactRef
from agentgym.tracking import mlflow_answering, open_mlflow
from agentgym.verdicts import ABTestReport, PromotionDecision, Subject, WaivedFidelity, WaivedLiveTest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

_CHECKPOINT_TAG = "checkpoint_digest"
_FORGOTTEN_TAG = "forgotten."


class Lineage(BaseModel):
    """Where a version comes from; every field becomes a tag of the MLflow version.

    snapshot_digest, pack_digest: None when it was not learned here.   snapshot_uri, pack_uri: where they were kept; None when nobody can
    read them again.   report_digest, run_id: of the evaluation and of the MLflow training run; None when there was none.
    policy: the kind its checkpoint's manifest says, which only an upstream has to tell.
    fidelity_digest: of the report on the environment it was trained in.   waived_fidelity: why it was trained below the bar all the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot_digest: str | None = None
    pack_digest: str | None = None
    code_version: str
    snapshot_uri: str | None = None
    pack_uri: str | None = None
    report_digest: str | None = None
    run_id: str | None = None
    policy: str | None = None
    fidelity_digest: str | None = None
    waived_fidelity: str | None = None


class ModelVersion(BaseModel):
    """A registered version: the checkpoint, and the tags that tell where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    checkpoint: ArtifactRef
    tags: dict[str, str]
    created_at: datetime
    description: str = ""

    @property
    def pointer(self) -> Pointer:
        return Pointer(version=self.version, checkpoint_digest=self.checkpoint.digest)

    @property
    def is_upstream(self) -> bool:
        """Whether it is an agent that runs elsewhere, asked over HTTP."""
        return self.tags.get("policy") == "upstream"

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Which conversations it learned from that were forgotten since, by the names of their tombstones."""
        return tuple(sorted(name.removeprefix(_FORGOTTEN_TAG) for name in self.tags if name.startswith(_FORGOTTEN_TAG)))

    def source(self, name: Literal["snapshot", "pack"]) -> ArtifactRef:
        """What the version was made from. Raises InvalidInput when its tags do not say where that is."""
        digest, uri = self.tags.get(f"{name}_digest"), self.tags.get(f"{name}_uri")
        if digest is None or uri is None:
            raise InvalidInput(
                f"A version must tell where its {name} is; version {self.version} of {self.name!r} has the tags {sorted(self.tags)}. "
                "Register it with its lineage."
            )
        return ArtifactRef(uri=uri, digest=digest)


class RegistryStatus(BaseModel):
    """Who stands where now.   moved_by_hand: what was found set otherwise in MLflow, and put back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: ModelVersion | None
    challenger: ModelVersion | None
    previous: ModelVersion | None
    moved_by_hand: tuple[str, ...] = ()


class ModelRegistry:
    """The versions of one agent.

    history_url: SQL database of the history; by default beside MLflow's own. Opening mends aliases that a killed process left behind, and
    puts back, and tells in the history, what somebody moved by hand in MLflow.
    """

    def __init__(
        self, tracking_uri: str, name: str, *, history_url: str | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = name
        self._clock = clock
        self._ledger = Ledger(history_url or history_url_beside(tracking_uri), name)
        self._moved_by_hand: tuple[str, ...] = ()
        with mlflow_answering(tracking_uri):
            self._mlflow = open_mlflow(tracking_uri)
            # Looking at an agent that was never registered leaves no trace of it.
            if self._ledger.entries():
                _ensure_registered_model(self._mlflow, name)
        self.align_aliases()

    def register(self, checkpoint: ArtifactRef, *, lineage: Lineage, description: str = "") -> ModelVersion:
        """The version of this checkpoint; registering it again, also after a crash, gives the version it has."""
        tags = {_CHECKPOINT_TAG: checkpoint.digest, **lineage.model_dump(exclude_none=True)}
        with self._ledger.locked(), mlflow_answering(self.name):
            _ensure_registered_model(self._mlflow, self.name)
            known = self._mlflow.search_model_versions(f"name = '{self.name}' and tags.{_CHECKPOINT_TAG} = '{checkpoint.digest}'")
            if known:
                return _model_version(min(known, key=lambda version: int(version.version)))
            return _model_version(
                self._mlflow.create_model_version(self.name, source=checkpoint.uri, tags=tags, description=description or None)
            )

    def bootstrap(self, version: ModelVersion, reason: str) -> ModelVersion:
        """Makes a champion without a verdict: the first one, or, until a verdict made one, an upstream, which is what runs today.

        Raises Refused for any other.
        """
        with self._ledger.locked() as ledger:
            champion = ledger.standing.champion
            if champion != version.pointer:
                if not needs_no_verdict(ledger, is_upstream=version.is_upstream):
                    raise Refused(
                        f"Only the first champion needs no verdict, and an upstream until a verdict makes a champion; {named(champion)} is "
                        f"champion, so version {version.version} cannot be bootstrapped. Evaluate both and promote by the decision."
                    )
                standing = ledger.standing.model_copy(update={"champion": version.pointer, "previous": champion})
                ledger.append("bootstrap", standing, _stated(reason), at=self._clock())
        self.align_aliases()
        return self.version(version.version)

    def promote_challenger(self, decision: PromotionDecision, *, waived_fidelity: WaivedFidelity | None = None) -> ModelVersion:
        """Makes the version the decision speaks of the challenger. Raises Refused unless it says so, against the present champion.

        waived_fidelity: kept in the history, of a version that was trained in an environment below the bar.
        """
        with self._ledger.locked() as ledger:
            version = self._version_of(decision.challenger)
            if not was_challenged(ledger, decision, version.pointer):
                require_offline_verdict(decision, ledger.standing)
                standing = ledger.standing.model_copy(update={"challenger": version.pointer})
                waived = f"Fidelity waived: {waived_fidelity.reason} " if waived_fidelity else ""
                ledger.append("challenge", standing, waived + in_words(decision), at=self._clock(), decision=decision)
        self.align_aliases()
        return version

    def promote_champion(self, report: ABTestReport) -> ModelVersion:
        """Makes the treatment of an A/B test champion, and the champion previous; conversations under way stay with who began them.

        Raises Refused unless the report ships the present challenger over the present champion. A report promotes once: after a rollback
        it does not promote again.
        """
        with self._ledger.locked() as ledger:
            version = self._version_of(report.treatment.subject)
            if not was_promoted(ledger, report, version.pointer):
                require_online_verdict(report, ledger.standing, agent=self.name)
                require_challenger(report.treatment.subject, ledger.standing)
                standing = Standing(champion=version.pointer, previous=ledger.standing.champion)
                ledger.append("promotion", standing, in_words(report), at=self._clock(), report=report)
        self.align_aliases()
        return version

    def promote_without_live_test(self, decision: PromotionDecision, waiver: WaivedLiveTest) -> ModelVersion:
        """Makes the challenger champion by its offline verdict alone; the history keeps why no live test was asked.

        Raises Refused unless the decision promotes the present challenger over the present champion. A decision promotes once: after a
        rollback it does not promote again.
        """
        with self._ledger.locked() as ledger:
            version = self._version_of(decision.challenger)
            if not was_promoted(ledger, decision, version.pointer):
                require_offline_verdict(decision, ledger.standing)
                require_challenger(decision.challenger, ledger.standing)
                standing = Standing(champion=version.pointer, previous=ledger.standing.champion)
                reason = f"Live test waived: {waiver.reason} {in_words(decision)}"
                ledger.append("promotion", standing, reason, at=self._clock(), decision=decision)
        self.align_aliases()
        return version

    def rollback(self, reason: str, *, from_version: int | None = None, drain: bool = False) -> ModelVersion:
        """Makes the previous champion champion again, and the present one previous, so that another rollback undoes it.

        from_version: the champion to leave; a repeated call that finds it left already changes nothing.
        drain: conversations under way may end with the version that is left; else they move at once.
        Raises InvalidInput when there is nothing to roll back to.
        """
        with self._ledger.locked() as ledger:
            champion, previous = ledger.standing.champion, ledger.standing.previous
            if champion is None or previous is None:
                raise InvalidInput(
                    f"A rollback needs a champion before the present one; {self.name!r} has had {'one' if champion else 'none'}. "
                    "Promote a version first."
                )
            if not has_left(from_version, champion, previous):
                standing = ledger.standing.model_copy(update={"champion": previous, "previous": champion})
                ledger.append("rollback", standing, _stated(reason), at=self._clock(), open_conversations="stay" if drain else "move")
            restored = ledger.standing.champion
        self.align_aliases()
        assert restored is not None
        return self.version(restored.version)

    def history(self) -> tuple[HistoryEntry, ...]:
        """Every change of champion or challenger, the oldest first."""
        return self._ledger.entries()

    def status(self) -> RegistryStatus:
        """Who stands where, after putting back what was moved by hand."""
        self.align_aliases()
        standing = self._standing()
        versions = {alias: self._pointed_to(getattr(standing, alias)) for alias in ALIASES}
        return RegistryStatus(**versions, moved_by_hand=self._moved_by_hand)

    def versions(self) -> tuple[ModelVersion, ...]:
        """Every version registered here, the oldest first; what somebody registered by hand, without a checkpoint's digest, is not."""
        with mlflow_answering(self.name):
            found = self._mlflow.search_model_versions(f"name = '{self.name}'", max_results=10_000)
        ours = [_model_version(version) for version in found if _CHECKPOINT_TAG in version.tags]
        return tuple(sorted(ours, key=lambda version: version.version))

    def mark_forgotten(self, version: int, tombstone: str, *, at: datetime) -> None:
        """Notes on a version that it learned from a conversation that was forgotten; noting it again changes nothing."""
        with mlflow_answering(self.name):
            self._mlflow.set_model_version_tag(self.name, str(version), f"{_FORGOTTEN_TAG}{tombstone[:16]}", at.isoformat())

    def known_names(self) -> tuple[str, ...]:
        """Every agent that has versions in this MLflow, in alphabetical order."""
        with mlflow_answering(self.name):
            return tuple(sorted(model.name for model in self._mlflow.search_registered_models(max_results=1_000)))

    def version(self, number: int) -> ModelVersion:
        """The version of this number. Raises InvalidInput when there is none."""
        for version in self.versions():
            if version.version == number:
                return version
        known = ", ".join(str(version.version) for version in self.versions())
        raise InvalidInput(f"A version must be registered; {self.name!r} has no version {number}. Registered: {known or 'none'}.")

    def resolve(self, reference: str) -> ModelVersion:
        """The version meant by `3`, or by `@champion`, `@challenger`, `@previous`. Raises InvalidInput when it means none."""
        if reference.isdecimal():
            return self.version(int(reference))
        alias = reference.removeprefix("@")
        if not reference.startswith("@") or alias not in ALIASES:
            raise InvalidInput(f"A version is a number or one of @{', @'.join(ALIASES)}; got {reference!r}.")
        version = self._pointed_to(getattr(self._standing(), alias))
        if version is None:
            raise InvalidInput(f"An alias must point at a version; @{alias} of {self.name!r} points at none. Run `agentgym models list`.")
        return version

    def align_aliases(self) -> None:
        """Sets MLflow's aliases to what the history says; with an empty history it leaves them alone."""
        entries = self._ledger.entries()
        with mlflow_answering(self.name):
            if not entries or self._aliases() == entries[-1].standing.versions():
                return
            with self._ledger.locked() as ledger:
                self._align(ledger)

    def _align(self, ledger: LockedLedger) -> None:
        registered = {version.pointer for version in self.versions()}
        wanted, shown, observed = ledger.standing.versions(), ledger.shown().versions(), self._aliases()
        # Nothing can point at a version that was deleted in MLflow, nor may it at one that has its number now; `resolve` says so.
        alive = [alias for alias in ALIASES if getattr(ledger.standing, alias) in registered | {None}]
        moved = [alias for alias in alive if observed.get(alias) not in (wanted.get(alias), shown.get(alias))]
        for alias in alive:
            if observed.get(alias) != wanted.get(alias):
                self._point(alias, wanted.get(alias))
        if moved:
            statements = tuple(_moved(alias, observed.get(alias), wanted.get(alias)) for alias in moved)
            ledger.append("repair", ledger.standing, " ".join(statements), at=self._clock())
            self._moved_by_hand += statements
        ledger.mark_shown(ledger.standing)

    def _point(self, alias: Alias, version: int | None) -> None:
        if version is None:
            self._mlflow.delete_registered_model_alias(self.name, alias)
        else:
            self._mlflow.set_registered_model_alias(self.name, alias, str(version))

    def _aliases(self) -> dict[Alias, int]:
        aliases = self._mlflow.get_registered_model(self.name).aliases
        return {alias: int(aliases[alias]) for alias in ALIASES if alias in aliases}

    def _standing(self) -> Standing:
        entries = self._ledger.entries()
        return entries[-1].standing if entries else Standing()

    def _pointed_to(self, pointer: Pointer | None) -> ModelVersion | None:
        if pointer is None:
            return None
        version = self.version(pointer.version)
        if version.pointer != pointer:
            raise ContractBroken(
                f"A version keeps its checkpoint; version {pointer.version} was {pointer.checkpoint_digest[:12]} and is "
                f"{version.checkpoint.digest[:12]}, so MLflow's database is not the one the history is about. Restore it from a backup."
            )
        return version

    def _version_of(self, subject: Subject) -> ModelVersion:
        for version in self.versions():
            if version.checkpoint.digest == subject.checkpoint_digest:
                return version
        raise Refused(
            f"A verdict promotes a registered checkpoint; {subject_named(subject)} is not registered under {self.name!r}. "
            "Register it, or decide on a registered one."
        )


def _ensure_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        _create_registered_model(client, name)


def _create_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _model_version(found: "MlflowModelVersion") -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=int(found.version),
        checkpoint=ArtifactRef(uri=str(found.source), digest=found.tags[_CHECKPOINT_TAG]),
        tags=dict(found.tags),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
        description=found.description or "",
    )


def _stated(reason: str) -> str:
    if not reason.strip():
        raise InvalidInput(f"The history keeps a reason for every change; got {reason!r}. Say why.")
    return reason.strip()


def _moved(alias: Alias, observed: int | None, wanted: int | None) -> str:
    was, now = (f"version {number}" if number else "no version" for number in (observed, wanted))
    return f"@{alias} had been moved by hand in MLflow to {was}; it was put back to {now}."
