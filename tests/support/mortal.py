"""A stack whose worker can be killed at one exact point; see `mortal_worker`."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

from lifecycle.dev.process import Child
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine, EngineDownError
from tests.support.waiting import eventually

# What goes on for ever by itself; and the points that it passes.
_BACKGROUND = "('Reconciler', 'Ledger', 'CertificateUpkeep')"
PASSED_BY_ITSELF = ("Reconciler/", "InstanceService/upkeep", "CertificateUpkeep/", "DomainLook/", "Outbox/upkeep")


class Points:
    """Where the worker passes, and where it dies.

    Args:
        folder: shared with the worker.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def crash_at(self, step: str) -> Iterator[None]:
        """A step fails before it acts, then after it acted, and then acts twice; see `mortal_issuer`.

        An AssertionError when it did not come to that in the time of the block.
        """
        plan, crashes = self._folder / "crash", self._folder / "crashes"
        crashes.unlink(missing_ok=True)
        plan.write_text(step)
        try:
            yield
            assert crashes.exists(), f"the worker never came to {step}"
            assert len(crashes.read_text().splitlines()) >= 3, "the step was not repeated"
        finally:
            plan.unlink()

    @contextmanager
    def another_certificate(self) -> Iterator[None]:
        """In the time of the block visitors seem to get another certificate than they should; see `mortal_issuer`."""
        plan = self._folder / "another"
        plan.touch()
        try:
            yield
        finally:
            plan.unlink()

    @contextmanager
    def death_at(self, point: str, when: str) -> Iterator[None]:
        """The worker dies in the time of the block, there and once; an AssertionError when it never came there."""
        plan, deaths = self._folder / "plan.json", self._folder / "deaths"
        deaths.unlink(missing_ok=True)
        part = plan.with_suffix(".part")
        part.write_text(json.dumps({"point": point, "when": when}))
        part.rename(plan)
        try:
            yield
            assert deaths.exists(), f"the worker never came to {point}"
            assert deaths.read_text() == f"{point} {when}\n"
        finally:
            plan.unlink(missing_ok=True)

    def has_died(self) -> bool:
        """Whether the worker has come to the point of `death_at`."""
        return (self._folder / "deaths").exists()

    def forget(self) -> None:
        """Begin a new list of what was passed."""
        (self._folder / "points").unlink(missing_ok=True)

    def passed(self) -> Sequence[str]:
        """Every point that was passed, once, in order."""
        return list(dict.fromkeys((self._folder / "points").read_text().splitlines()))


@asynccontextmanager
async def mortal_stack(
    settings: Mapping[str, str],
    *,
    program: str = "tests.support.mortal_worker",
    made: Callable[[Path, Mapping[str, str]], Stack] = lambda root, settings: Stack(root, settings=settings),
) -> AsyncIterator[tuple[Stack, Points]]:
    """A stack of its own, stopped and removed whatever happens.

    Args:
        settings: of Lifecycle.
        program: the module of its worker.
        made: gives the stack in a folder.
    """
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix="lifecycle-mortal-"))
    stack = made(root / "s", settings)
    command = [sys.executable, "-m", program, str(root)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**stack.environment, "PYTHONPATH": path}
    stack.worker.child = Child("worker", command, environment=environment, log=stack.root / "logs" / "worker.log")
    try:
        await stack.start()
        yield stack, Points(root)
    finally:
        await stack.stop()
        shutil.rmtree(root)


async def quiet(stack: Stack, *, within: float = 20) -> None:
    """Wait until the engine has nothing to do but what it always does."""
    engine = Engine(stack.engine.admin_url, timeout=timedelta(seconds=5))

    async def nothing_runs() -> bool:
        try:
            busy = await engine.query(
                "SELECT target, status, last_failure FROM sys_invocation WHERE status NOT IN ('completed', 'scheduled')"
                f" AND target_service_name NOT IN {_BACKGROUND} AND target_handler_name <> 'upkeep'"
            )
        except EngineDownError as error:  # one that was just started again
            raise AssertionError(str(error)) from error
        assert not busy, busy
        return True

    try:
        await eventually(nothing_runs, within=within)
    finally:
        await engine.close()
