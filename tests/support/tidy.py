"""The rules of the house that a program can check. Each reads the source and says what to do instead.

`tests/unit/test_tidy.py` runs them over the package, and over small planted sources that each must refuse.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from sys import stdlib_module_names

from lifecycle import policies

PACKAGE = "lifecycle"
ROOT = Path(__file__).parents[2] / "src" / PACKAGE

# From the ground up. A module imports its own layer and those before it; the first pattern that fits decides.
# Files that define a Restate service are the layer `services`, wherever they are.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "words": ("errors", "errors.*", "settings", "ids", "hosts", "mistakes", "clock", "durations", "models", "policies"),
    "rules": (
        "scheduler.alarms",
        "scheduler.countdown",
        "scheduler.deletion_rules",
        "scheduler.entries",
        "scheduler.model",
        "ledger.entry",
        "ledger.icalendar",
        "certs.names",
        "certs.decision",
        "certs.endings",
        "certs.entries",
        "certs.events",
        "certs.model",
        "certs.moves",
        "certs.authorities.breaker",
        "certs.authorities.budget",
        "certs.problems",
        "certs.renewals",
        "certs.verdicts",
        "deploy.decision",
        "deploy.domains",
        "deploy.entries",
        "deploy.events",
        "deploy.model",
        "deploy.moves",
        "deploy.sentinel",
        "deploy.verification.model",
        "deploy.verification.moves",
        "notifications.events",
        "notifications.letters",
        "notifications.model",
        "*.rules",
    ),
    "outside": (
        "*.store",
        "db",
        "engine",
        "identity",
        "secret_files",
        "vault",
        "migrate",
        "migrations.*",
        "access.*",
        "certs.acme",
        "certs.acme.*",
        "certs.authorities",
        "certs.authorities.*",
        "certs.configuration",
        "certs.dns",
        "certs.dns.*",
        "certs.delivery",
        "certs.expiry_store",
        "certs.issuing",
        "certs.orders_store",
        "certs.proving",
        "certs.retention_store",
        "certs.watch",
        "certs.preflight",
        "certs.probes",
        "certs.verification",
        "deploy.platforms.*",
        "ledger.changes",
        "ledger.due_store",
        "ledger.recording",
        "ledger.writer",
        "deploy.builds",
        "deploy.launch",
        "deploy.hosts_store",
        "deploy.routing_store",
        "deploy.steps",
        "deploy.verification.sight",
        "notifications.attempts",
        "notifications.look_ups",
        "notifications.mail",
        "notifications.replay_store",
        "notifications.standard_webhooks",
        "notifications.targets_store",
        "notifications.webhooks",
        "observability.*",
        "precedence",
        "receipts.signing",
        "resources",
        "rotation_store",
        "deploy.gateway",
        "deploy.gateway.*",
    ),
    "services": (),
    "worker": ("client", "endpoint", "registration", "health", "certificate_health"),
    "people": ("api.*", "cli.*", "console", "console.*", "dev.*", "__main__"),
}
SERVICE_KINDS = ("restate.Service", "restate.VirtualObject", "restate.Workflow")

LONGEST_FILE = 400
LONGEST_FUNCTION = 50

# Where a rule does not hold, and why.
SQL_ELSEWHERE = {
    "engine.py": "introspection of the engine, not of our database",
    "certs/watch.py": "the same, for certificates",
    "migrate.py": "the lock that lets one migration run at a time",
    "health.py": "asks for versions, which no subsystem owns",
    "dev/servers.py": "the first statements of a database that is just being made",
}
ENVIRONMENT_ELSEWHERE = {
    "dev/process.py": "hands the environment on to a child",
    "dev/servers.py": "looks for programs on the PATH",
    "observability/traces.py": "asks whether OpenTelemetry is wanted, which reads its own variables",
}

_SQL = re.compile(
    r"\b(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+[A-Z]{4,}\s)"
)
_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
_WALL_CLOCKS = {
    "lifecycle.clock.now",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.monotonic",
}
_NOT_REPLAYED = {
    "uuid.uuid4": "use `ctx.uuid()`",
    "random": "use `ctx.random()`",
    "asyncio.sleep": "use a delayed send, or `ctx.sleep` in a workflow",
    "asyncio.gather": "use `restate.gather`",
}
_RECORDED = {"lifecycle.ledger.store.record", "lifecycle.notifications.store.enqueue"}
_IMPURE_STDLIB = {"asyncio", "io", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time"}
_PURE_OUTSIDERS = {"idna", "publicsuffixlist", "pydantic"}


class Source:
    """One file of the package, parsed.

    Args:
        path: below the package, such as `scheduler/store.py`.
        text: its content.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.tree = ast.parse(text)
        self.module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self._names = dict(self._imported())

    @cached_property
    def is_service(self) -> bool:
        """Whether it defines a Restate service."""
        return any(self.services())

    def services(self) -> Iterator[tuple[str, ast.stmt]]:
        """The variables that hold a Restate service."""
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and self.name(node.value.func) in SERVICE_KINDS
            ):
                yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))

    def imports(self) -> Iterator[tuple[str, ast.stmt]]:
        """The dotted names that it imports."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)

    def name(self, node: ast.AST) -> str | None:
        """The full dotted name that `node` means, after the imports of this file; None for anything else."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute) and (owner := self.name(node.value)):
            return f"{owner}.{node.attr}"
        return None

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def steps(self) -> Iterator[ast.Call]:
        """Every call of `ctx.run_typed`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run_typed":
                yield node

    def at(self, place: ast.stmt | ast.expr | ast.excepthandler | int, complaint: str) -> str:
        """A complaint about a place in this file."""
        return f"src/{PACKAGE}/{self.path}:{place if isinstance(place, int) else place.lineno}: {complaint}"

    def _imported(self) -> Iterator[tuple[str, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
            elif isinstance(node, ast.ImportFrom):
                yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


Check = Callable[[Sequence[Source]], Iterator[str]]


@cache
def package() -> Sequence[Source]:
    """Every file of the package."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
    ]


def imports_point_one_way(sources: Sequence[Source]) -> Iterator[str]:
    """A module imports its own layer and lower ones, never a higher one."""
    order = list(LAYERS)
    layers = {source.module: _layer(source) for source in sources}
    for source, imports in _graph(sources):
        layer = layers[source.module]
        if imports and layer is None:
            yield source.at(1, "has no layer; give it a place in LAYERS of tests/support/tidy.py")
        for imported, node in imports:
            other = layers[imported]
            if layer and other and order.index(other) > order.index(layer):
                yield source.at(
                    node,
                    f"{layer} must not import {imported} ({other}); move what both need down, or call from above",
                )


def imports_make_no_ring(sources: Sequence[Source]) -> Iterator[str]:
    """No module imports itself by a detour, so no two exclusive objects can wait for each other."""
    graph = {source.module: {imported for imported, _ in imports} for source, imports in _graph(sources)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = [str(module) for module in error.args[1]]
        first = next(source for source in sources if source.module == ring[0])
        yield first.at(1, f"import ring {' <- '.join(ring)}; answer upward with `ctx.generic_send` by name")


def rules_are_pure(sources: Sequence[Source]) -> Iterator[str]:
    """Rules import nothing that reads a clock, waits or reaches outside; time arrives as an argument."""
    for source in sources:
        if source.is_service or _layer(source) != "rules":
            continue
        for imported, node in source.imports():
            top = imported.split(".")[0]
            pure = (top in stdlib_module_names and top not in _IMPURE_STDLIB) or top in {PACKAGE, *_PURE_OUTSIDERS}
            if not pure:
                yield source.at(node, f"a rule imports {top}; take what it gives as an argument")
        for name, place in _used(source, _WALL_CLOCKS):
            yield source.at(place, f"a rule calls {name}; take `now` as an argument")


def sql_is_in_stores(sources: Sequence[Source]) -> Iterator[str]:
    """SQL is in `store.py` files and migrations only."""
    for source in sources:
        if source.path.endswith("store.py") or source.path.startswith("migrations/") or source.path in SQL_ELSEWHERE:
            continue
        docstrings = {id(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(source.tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docstrings
                and _SQL.search(node.value)
            ):
                yield source.at(node, "SQL outside a store; put a function into the `store.py` of this folder")


def files_and_functions_are_short(sources: Sequence[Source]) -> Iterator[str]:
    """A file has at most 400 lines and a function 50; a migration is a list and may be longer."""
    for source in sources:
        lines = len(source.text.splitlines())
        if lines > LONGEST_FILE:
            yield source.at(LONGEST_FILE, f"the file has {lines} lines, {LONGEST_FILE} are allowed; split it by topic")
        if source.path.startswith("migrations/"):
            continue
        for function in source.functions():
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > LONGEST_FUNCTION:
                yield source.at(
                    function,
                    f"{function.name} has {length} lines, {LONGEST_FUNCTION} are allowed; name its parts",
                )


def services_are_bound(sources: Sequence[Source]) -> Iterator[str]:
    """Every Restate service is in `endpoint.SERVICES`, else the engine never hears of it."""
    bound: set[str | None] = set()
    for source in sources:
        if source.path != "endpoint.py":
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assign) and [source.name(target) for target in node.targets] == ["SERVICES"]:
                bound |= {source.name(one) for one in ast.walk(node.value)}
    for source in sources:
        for variable, node in source.services():
            if f"{PACKAGE}.{source.module}.{variable}" not in bound:
                yield source.at(node, f"{variable} is not bound; add it to SERVICES in endpoint.py")


def clocks_are_read_in_steps(sources: Sequence[Source]) -> Iterator[str]:
    """A service file reads the wall clock only inside a step, whose result is journaled."""
    for source in _service_files(sources):
        steps = {source.name(call.args[1]) for call in source.steps() if len(call.args) > 1}
        inside = {id(node) for function in source.functions() if function.name in steps for node in ast.walk(function)}
        for name, place in _used(source, _WALL_CLOCKS):
            if id(place) not in inside:
                yield source.at(place, f"{name} outside a step; replays differ: use `await ctx.time()`")


def handlers_replay(sources: Sequence[Source]) -> Iterator[str]:
    """A service file uses nothing that differs or is forgotten when the engine replays it."""
    for source in _service_files(sources):
        for name, place in _used(source, _NOT_REPLAYED):
            yield source.at(place, f"{name} is not journaled: {_NOT_REPLAYED[name]}")


def calls_are_typed(sources: Sequence[Source]) -> Iterator[str]:
    """Nothing waits for a service by its name: such a call would hide a ring of waiting objects."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and node.attr == "generic_call":
                yield source.at(node, "generic_call hides a ring; import the handler, or answer with `generic_send`")


def steps_name_a_policy(sources: Sequence[Source]) -> Iterator[str]:
    """Every step says how it is retried, with a policy of `policies.py`, and takes its arguments by keyword."""
    positional = 3  # name, function, options
    known = {name for name, value in vars(policies).items() if isinstance(value, policies.Policy)}
    for source in sources:
        for call in source.steps():
            options = call.args[2] if len(call.args) >= positional else None
            named = source.name(options.func) if isinstance(options, ast.Call) else None
            if named not in {f"{PACKAGE}.policies.{policy}.options" for policy in known}:
                yield source.at(call, "a step without a policy; pass `policies.DATABASE.options(Result)` or its like")
            if len(call.args) > positional:
                yield source.at(call.args[positional], "a step argument by position; pass it by keyword")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and source.name(node.func) == "ctx.run":
                yield source.at(node, "an untyped step; use `ctx.run_typed` with a policy")


def nothing_is_unfinished(sources: Sequence[Source]) -> Iterator[str]:
    """No note to do something later."""
    for source in sources:
        for number, line in enumerate(source.text.splitlines(), start=1):
            if mark := _UNFINISHED.search(line):
                yield source.at(number, f"{mark[0]}: do it now, or open an issue")


def broad_excepts_say_why(sources: Sequence[Source]) -> Iterator[str]:
    """Whoever catches everything and goes on says why, on the same line."""
    broad = {"Exception", "BaseException"}
    for source in sources:
        lines = source.text.splitlines()
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            too_much = any(one is None or source.name(one) in broad for one in caught)
            goes_on = not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
            reason = lines[node.lineno - 1].partition("#")[2].replace("noqa: BLE001", "").strip()
            if too_much and goes_on and not reason:
                yield source.at(node, "catches everything; name the exceptions, or say why in a comment on the line")


def environment_is_read_in_settings(sources: Sequence[Source]) -> Iterator[str]:
    """Only `settings.py` reads the environment, so that docs/settings.md is complete."""
    for source in sources:
        if source.path not in ENVIRONMENT_ELSEWHERE:
            for name, place in _used(source, {"os.environ", "os.getenv"}):
                yield source.at(
                    place,
                    f"{name} outside settings.py; add a field to Settings, whose `model_fields_set` says what is set",
                )


def entries_are_recorded_in_one_place(sources: Sequence[Source]) -> Iterator[str]:
    """What is recorded is told: only `ledger/recording.py` writes audit rows, and the deliveries with them."""
    for source in sources:
        if source.path != "ledger/recording.py":
            for name, place in _used(source, _RECORDED):
                yield source.at(place, f"{name} tells nobody; use `record` of ledger/recording.py, or `record_untold`")


CHECKS: tuple[Check, ...] = (
    imports_point_one_way,
    imports_make_no_ring,
    rules_are_pure,
    sql_is_in_stores,
    files_and_functions_are_short,
    services_are_bound,
    clocks_are_read_in_steps,
    handlers_replay,
    calls_are_typed,
    steps_name_a_policy,
    nothing_is_unfinished,
    broad_excepts_say_why,
    environment_is_read_in_settings,
    entries_are_recorded_in_one_place,
)


def _layer(source: Source) -> str | None:
    if source.is_service:
        return "services"
    for layer, patterns in LAYERS.items():
        if any(fnmatchcase(source.module, pattern) for pattern in patterns):
            return layer
    return None


def _service_files(sources: Sequence[Source]) -> Sequence[Source]:
    return [source for source in sources if source.is_service]


def _graph(sources: Sequence[Source]) -> Iterator[tuple[Source, Sequence[tuple[str, ast.stmt]]]]:
    """Each source with the modules of this package that it imports; `from lifecycle.x import y` may mean x.y."""
    modules = {source.module for source in sources}
    for source in sources:
        found = []
        for imported, node in source.imports():
            inside = imported.removeprefix(f"{PACKAGE}.")
            if inside != imported:
                found.append((inside if inside in modules else inside.rpartition(".")[0], node))
        yield source, [(module, node) for module, node in found if module in modules]


def _used(source: Source, wanted: Iterable[str]) -> Iterator[tuple[str, ast.expr]]:
    """Where the source uses one of these names, or something inside it."""
    names = set(wanted)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := source.name(node)) in names:
            yield str(name), node
