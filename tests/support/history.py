"""What was asked and answered while servers died, what was true in the end, and who finds the broken promise.

    events (invoke, then ok | fail | unknown)  ─┐
                                                ├─> checkers ──> violations, each a sentence
    truths (state, rows, tombstone, audit)     ─┘

A checker is a pure function over plain lists; it knows nothing of servers. An answer that never came is an
outcome of its own, `unknown`: the request may have had its effect at any time since, or never will.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

NEVER = datetime.max.replace(tzinfo=UTC)


class Kind(StrEnum):
    """What an event is: a request, or how it ended."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Event(NamedTuple):
    """One line of a history. `call` pairs a request with its end; `answer` is the body, of a refusal too."""

    call: int
    kind: Kind
    at: datetime
    verb: str
    project: str
    answer: Mapping[str, Any] = {}


class Call(NamedTuple):
    """A request with its end. `answered_at` is NEVER when the outcome is unknown."""

    verb: str
    project: str
    asked_at: datetime
    answered_at: datetime
    kind: Kind
    answer: Mapping[str, Any]

    @property
    def generation(self) -> int | None:
        """The generation that the answer is about; None in refusals."""
        return self.answer.get("generation")

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        return self.answer.get("code")


class Truth(NamedTuple):
    """One project when all is quiet.

    Attributes:
        project: its id.
        shown: the deletion as the API shows it.
        rows: rows of the project in each table now.
        rows_before: the same before anything was scheduled.
        tombstone: its row, None when there is none.
        receipt: what the receipt states; None when there is none, or it does not verify.
        action: state in the list of actions, None when it is not listed.
        audit: the project's own entries as the API shows them, by the number in their id.
    """

    project: str
    shown: Mapping[str, Any]
    rows: Mapping[str, int]
    rows_before: Mapping[str, int]
    tombstone: Mapping[str, Any] | None
    receipt: Mapping[str, Any] | None
    action: str | None
    audit: Sequence[Mapping[str, Any]]


Checker = Callable[[Sequence[Event], Sequence[Truth]], Iterable[str]]

# Where a transition leads from a phase; an action that is missing for a phase must not happen in it.
_TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "none": {"deletion.scheduled": "scheduled"},
    "scheduled": {
        "deletion.cancelled": "none",
        "deletion.rescheduled": "scheduled",
        "deletion.expedited": "scheduled",
        "deletion.reminded": "scheduled",
        "deletion.blocked": "scheduled",
        "deletion.started": "purging",
    },
    "purging": {"deletion.resumed": "purging", "deletion.finished": "deleted"},
    "deleted": {},
}
_ADVANCES = frozenset({"deletion.scheduled", "deletion.cancelled", "deletion.rescheduled", "deletion.expedited"})
_ARMS = _ADVANCES - {"deletion.cancelled"}
_LISTED_AS = {"none": "cancelled", "scheduled": "pending", "purging": "running", "deleted": "done"}


def calls(events: Sequence[Event]) -> Sequence[Call]:
    """The requests of a history with their ends, in the order in which they were made."""
    ends = {event.call: event for event in events if event.kind is not Kind.INVOKE}
    return [_paired(event, ends.get(event.call)) for event in events if event.kind is Kind.INVOKE]


def moment(text: str) -> datetime:
    """A time of an answer."""
    return datetime.fromisoformat(text)


def a_cancelled_generation_is_never_purged(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:
    """An acknowledged cancel is never followed by the deed."""
    purged = {truth.project: _purged_generation(truth) for truth in truths}
    for call in _acknowledged(events, "cancel"):
        if purged.get(call.project) == call.generation:
            yield f"{call.project}: the cancel of generation {call.generation} was acknowledged, and it was purged"


def cancels_agree(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:  # noqa: ARG001
    """All answers about one cancel are the same, and what has begun is never cancelled afterwards."""
    first: dict[tuple[str, int | None], Call] = {}
    for call in _acknowledged(events, "cancel"):
        former = first.setdefault((call.project, call.generation), call)
        if former.answer != call.answer:
            yield f"{call.project}: one cancel was answered with {former.answer} and with {call.answer}"
    begun = [call for call in calls(events) if call.code == "deletion_started"]
    since: dict[str, Call] = {}
    for call in begun:
        former = since.setdefault(call.project, call)
        if former.answer.get("started_at") != call.answer.get("started_at"):
            yield f"{call.project}: it began at {former.answer['started_at']} and at {call.answer['started_at']}"
    for call in _acknowledged(events, "cancel"):
        if call.project in since and call.asked_at > since[call.project].answered_at:
            yield f"{call.project}: refused since it had begun, then acknowledged as cancelled"


def nothing_is_early(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:
    """No purge begins, and nobody sees one, before the due time that was promised for this generation."""
    due: dict[tuple[str, int | None], datetime] = {}
    for call in (*_acknowledged(events, "schedule"), *_acknowledged(events, "move")):
        due[call.project, call.generation] = moment(call.answer["due_at"])
    for call in _acknowledged(events, "show"):
        promised = due.get((call.project, call.generation))
        if call.answer["phase"] in ("purging", "deleted") and promised and call.answered_at < promised:
            yield f"{call.project}: shown as {call.answer['phase']} at {call.answered_at}, due at {promised}"
    for truth in truths:
        started = [moment(entry["at"]) for entry in truth.audit if entry["action"] == "deletion.started"]
        if truth.receipt is not None:
            started += [moment(truth.receipt[name]) for name in ("started_at", "deleted_at")]
            started += [moment(line["finished_at"]) for line in truth.receipt["removed"]]
        shown_due = truth.shown["due_at"]
        promised = due.get((truth.project, truth.shown["generation"])) or (moment(shown_due) if shown_due else NEVER)
        for at in started:
            # Receipts are written in milliseconds, answers in microseconds.
            if at < promised.replace(microsecond=promised.microsecond // 1000 * 1000):
                yield f"{truth.project}: purge effect at {at}, due at {promised}"


def every_project_ends_whole(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:  # noqa: ARG001
    """In the end a project is either all there, or all gone with a tombstone and a receipt that verifies."""
    for truth in truths:
        phase = truth.shown["phase"]
        if phase == "none":
            if truth.rows != truth.rows_before:
                yield f"{truth.project}: kept, but it had {truth.rows_before} and has {truth.rows}"
            if truth.tombstone is not None:
                yield f"{truth.project}: kept, and has a tombstone"
        elif phase == "deleted":
            if any(truth.rows.values()):
                yield f"{truth.project}: deleted, and still has {truth.rows}"
            yield from _wrong_receipt(truth)
        else:
            yield f"{truth.project}: still {phase} when all is quiet"


def the_audit_log_is_complete(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:
    """The audit log has each transition exactly once, in a possible order, and ends where the project is."""
    acknowledged: dict[str, Counter[str]] = defaultdict(Counter)
    for call in _changes(events):
        acknowledged[call.project][call.verb] += 1
    for truth in truths:
        numbers = [int(entry["id"].rpartition(".")[2]) for entry in truth.audit]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{truth.project}: audit entries are numbered {numbers}"
        actions = [entry["action"] for entry in truth.audit]
        if (end := _replayed(actions)) != (truth.shown["phase"], truth.shown["generation"]):
            yield f"{truth.project}: audit says {end} by {actions}, shown is {dict(truth.shown)}"
        listed_as = _LISTED_AS[truth.shown["phase"]] if truth.shown["generation"] else None
        if truth.action != listed_as:
            yield f"{truth.project}: listed as {truth.action}, shown as {truth.shown['phase']}"
        for verb, action in (("schedule", "scheduled"), ("cancel", "cancelled"), ("move", "rescheduled")):
            if acknowledged[truth.project][verb] > actions.count(f"deletion.{action}"):
                yield f"{truth.project}: an acknowledged {verb} is not in the audit log: {actions}"


def stale_wakeups_are_counted(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:  # noqa: ARG001
    """Every wake-up that was left behind came, did nothing, and was counted."""
    for truth in truths:
        actions = Counter(entry["action"] for entry in truth.audit)
        left_behind = sum(actions[action] for action in _ARMS) - actions["deletion.started"]
        if truth.shown["stale_wakeups"] < left_behind:
            yield f"{truth.project}: {left_behind} wake-ups left behind, {truth.shown['stale_wakeups']} counted"


def generations_only_grow(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:
    """Whoever asks later never sees an older generation."""
    seen: dict[str, list[Call]] = defaultdict(list)
    for call in calls(events):
        # The answer to a cancel names the generation that ended, which may be an old one.
        if call.kind is Kind.OK and call.verb in ("schedule", "move", "show"):
            seen[call.project].append(call)
    for truth in truths:
        seen[truth.project].append(Call("show", truth.project, NEVER, NEVER, Kind.OK, truth.shown))
    for project, some in seen.items():
        highest, by_answer = 0, sorted(some, key=lambda call: call.answered_at)
        answered = iter(by_answer)
        upcoming = next(answered, None)
        for call in sorted(some, key=lambda call: call.asked_at):
            while upcoming is not None and upcoming.answered_at < call.asked_at:
                highest = max(highest, upcoming.generation or 0)
                upcoming = next(answered, None)
            if (call.generation or 0) < highest:
                yield f"{project}: {call.verb} answered generation {call.generation} after {highest} was seen"


def answers_are_linearizable(events: Sequence[Event], truths: Sequence[Truth]) -> Iterator[str]:
    """Each project's answers are those of one that handles one request at a time, in some possible order."""
    by_project: dict[str, list[Call]] = defaultdict(list)
    for call in calls(events):
        if not (call.verb == "show" and call.kind is not Kind.OK):
            by_project[call.project].append(call)
    for truth in truths:
        # Read when all was quiet, so it comes after everything, also after what was unknown.
        by_project[truth.project].append(Call("show", truth.project, NEVER, NEVER, Kind.OK, truth.shown))
    for project, some in by_project.items():
        if not _has_an_order(some):
            told = "; ".join(f"{call.verb} {call.kind} {call.asked_at:%T.%f} {dict(call.answer)}" for call in some)
            yield f"{project}: no order explains {told}"


CHECKERS: tuple[Checker, ...] = (
    a_cancelled_generation_is_never_purged,
    cancels_agree,
    nothing_is_early,
    every_project_ends_whole,
    the_audit_log_is_complete,
    stale_wakeups_are_counted,
    generations_only_grow,
    answers_are_linearizable,
)


def violations(
    events: Sequence[Event], truths: Sequence[Truth], checkers: Sequence[Checker] = CHECKERS
) -> Sequence[str]:
    """What every checker found, by name."""
    return [f"{checker.__name__}: {found}" for checker in checkers for found in checker(events, truths)]


class _State(NamedTuple):
    """The model of one project for the search of an order."""

    phase: str = "none"
    generation: int = 0
    cancelled: int | None = None  # the generation that the last cancel ended
    due_at: datetime = NEVER


def _has_an_order(some: Sequence[Call]) -> bool:
    """Search depth first; what was tried in the same state with the same calls left is not tried again."""
    tried: set[tuple[frozenset[int], _State]] = set()
    stack = [(frozenset(range(len(some))), _State())]
    while stack:
        left, state = stack.pop()
        if all(some[one].kind is Kind.UNKNOWN for one in left):
            return True
        if (left, state) in tried:
            continue
        tried.add((left, state))
        # Only what was asked before the earliest answer still to come can be next.
        horizon = min(some[one].answered_at for one in left)
        possible = [one for one in _candidates(some, left) if some[one].asked_at <= horizon]
        stack += [(left - {one}, after) for one in possible if (after := _apply(state, some[one])) is not None]
        if state.phase == "scheduled" and horizon >= state.due_at:
            stack.append((left, state._replace(phase="purging")))
        if state.phase == "purging":
            stack.append((left, state._replace(phase="deleted")))
    return False


def _candidates(some: Sequence[Call], left: Iterable[int]) -> Iterator[int]:
    """Which calls may come next: of the unknown ones the oldest of each verb, since they differ in nothing else."""
    verbs = set()
    for one in sorted(left):
        if some[one].kind is not Kind.UNKNOWN:
            yield one
        elif some[one].verb not in verbs:
            verbs.add(some[one].verb)
            yield one


def _apply(state: _State, call: Call) -> _State | None:
    """The state after `call`, or None when its answer is not possible in this one."""
    after, answer = _effect(state, call)
    if call.kind is Kind.UNKNOWN:
        return after if after != state else None
    if call.kind is Kind.FAIL:
        return state if call.code == answer.get("code") else None
    return after if answer.items() <= {**call.answer}.items() else None


def _effect(state: _State, call: Call) -> tuple[_State, Mapping[str, Any]]:
    """What a project in this state makes of a request: its next state, and what the answer must contain."""
    if call.verb == "show":
        return state, {"phase": state.phase, "generation": state.generation}
    if state.phase in ("purging", "deleted"):
        return state, {"code": "deletion_started"}
    due_at = moment(call.answer["due_at"]) if call.kind is Kind.OK and "due_at" in call.answer else call.asked_at
    armed = _State("scheduled", state.generation + 1, None, due_at)
    if state.phase == "none":
        if call.verb == "schedule":
            return armed, {"generation": armed.generation, "already_scheduled": False}
        if call.verb == "cancel" and state.cancelled is not None:
            return state, {"generation": state.cancelled}
        return state, {"code": "deletion_not_scheduled"}
    if call.verb == "schedule":
        return state, {"generation": state.generation, "already_scheduled": True}
    if call.verb == "cancel":
        return _State("none", state.generation + 1, state.generation), {"generation": state.generation}
    return armed, {"generation": armed.generation}


def _replayed(actions: Sequence[str]) -> tuple[str, int] | str:
    """Phase and generation after these entries, or what was impossible."""
    phase, generation = "none", 0
    for action in actions:
        if action.startswith("deletion."):
            if action not in _TRANSITIONS[phase]:
                return f"{action} while {phase}"
            phase = _TRANSITIONS[phase][action]
            generation += action in _ADVANCES
    return phase, generation


def _paired(asked: Event, end: Event | None) -> Call:
    if end is None or end.kind is Kind.UNKNOWN:
        return Call(asked.verb, asked.project, asked.at, NEVER, Kind.UNKNOWN, {})
    return Call(asked.verb, asked.project, asked.at, end.at, end.kind, end.answer)


def _acknowledged(events: Sequence[Event], verb: str) -> Iterator[Call]:
    return (call for call in calls(events) if call.kind is Kind.OK and call.verb == verb)


def _changes(events: Sequence[Event]) -> Iterator[Call]:
    """The acknowledged requests that made a transition; a repetition which got the first answer made none."""
    cancelled = set()
    for call in calls(events):
        if call.kind is not Kind.OK:
            continue
        if call.verb == "cancel":
            if (call.project, call.generation) in cancelled:
                continue
            cancelled.add((call.project, call.generation))
        if not call.answer.get("already_scheduled", False):
            yield call


def _purged_generation(truth: Truth) -> int | None:
    if truth.tombstone is not None:
        return int(truth.tombstone["generation"])
    if truth.shown["phase"] in ("purging", "deleted"):
        return int(truth.shown["generation"])
    return None


def _wrong_receipt(truth: Truth) -> Iterator[str]:
    if truth.tombstone is None:
        yield f"{truth.project}: deleted, without a tombstone"
    elif truth.receipt is None:
        yield f"{truth.project}: its receipt does not verify"
    else:
        stated = (truth.receipt["project"], truth.receipt["generation"], truth.tombstone["generation"])
        if stated != (truth.project, truth.shown["generation"], truth.shown["generation"]):
            yield f"{truth.project}: receipt and tombstone state {stated}, shown is {dict(truth.shown)}"
        removed = truth.receipt["removed"]
        if sum(line["count"] for line in removed) != sum(truth.rows_before.values()):
            yield f"{truth.project}: the receipt states {removed}, the project had {dict(truth.rows_before)}"
