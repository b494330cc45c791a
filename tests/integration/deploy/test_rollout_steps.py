"""Each step of deploying fails before it acts, then after it acted, and then runs twice; the end is the same."""

import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from lifecycle import clock, ids
from lifecycle.deploy import instances, launch, rollout, routing
from lifecycle.deploy.instances import Target
from lifecycle.deploy.model import Act, Deploy, Environment, Fleet, Spec, Status
from lifecycle.dev.stack import REGION, WORKSPACE
from lifecycle.scheduler import purge
from lifecycle.scheduler.model import Phase, Project, PurgeOrder, ReceiptLine
from lifecycle.scheduler.purge import Subsystem
from tests.support import deploy_checks, shop
from tests.support.mortal import quiet
from tests.support.waiting import eventually
from tests.support.workbench import Workbench

STEPS: dict[ModuleType, tuple[str, ...]] = {
    rollout: ("_accept", "_start", "_begin", "_look", "_end_wait", "_end", "_scrape", "_finalize"),
    routing: ("_claim", "_refresh", "_tell", "_move"),
    instances: ("_start", "_look", "_unwant", "_remove"),
}
# Builds and watches, custom domains and deletions, and the upkeep, which tries again by itself.
ELSEWHERE: dict[ModuleType, tuple[str, ...]] = {
    rollout: ("_begin_build", "_build_image", "_glance"),
    routing: ("_suspend", "_clear", "_claim_custom", "_release_custom", "_apply"),
    instances: ("_mend", "_synchronise", "_missing"),
}
_EACH = [
    pytest.param(module, step, id=f"{module.__name__.rpartition('.')[2]}.{step}")
    for module, steps in STEPS.items()
    for step in steps
]
_TIMES = 3


class _CrashError(Exception):
    """A planted failure."""


def _failing(step: Callable[..., Awaitable[Any]], seen: Counter[str]) -> Callable[..., Awaitable[Any]]:
    async def failing(**arguments: Any) -> Any:
        subject = str(arguments)
        seen[subject] += 1
        if seen[subject] == 1:
            raise _CrashError("before it acted")
        result = await step(**arguments)
        if seen[subject] == 2:
            raise _CrashError("after it acted")
        return await step(**arguments) if seen[subject] == _TIMES else result

    return failing


@pytest.mark.parametrize(("module", "step"), _EACH)
async def test_a_step_that_fails_is_repeated_and_the_end_is_the_same(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    """Whatever step fails or runs twice: deploying, stopping, waking and rolling back end as they should."""
    seen: Counter[str] = Counter()
    monkeypatch.setattr(module, step, _failing(getattr(module, step), seen))
    project = await bench.project()
    first = await _deployed(bench, project, "v1")
    second = await _deployed(bench, project, "v2")
    await bench.client.stop_deployment(project.id, _act(bench, first))
    await bench.client.rollback(project.id, _act(bench, first))
    await eventually(lambda: _is_live(bench, project, first), within=30)
    await bench.client.promote(project.id, _act(bench, second))
    await quiet(bench.stack, within=30)
    truth = await deploy_checks.look(bench.stack, project.id, await bench.client.fleet(project.id))

    assert max(seen.values(), default=0) >= _TIMES, "the step was not repeated"
    assert deploy_checks.violations(truth) == []
    assert truth.fleet.live == {Environment.PRODUCTION: second}
    assert (await shop.visit(bench.stack, _host(project))).text == "v2"


def test_every_step_has_its_turn() -> None:
    """A step that is added to one of these services joins the list, or is said to belong to another story."""
    for module, steps in STEPS.items():
        used = set(re.findall(r"run_typed\(\s*[^,]+,\s*(_\w+)", inspect.getsource(module)))
        assert used == {*steps, *ELSEWHERE[module]}


async def test_nothing_is_started_again_while_its_project_is_purged(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for missing instances in the middle of a purge does not bring back what it has removed."""
    looks: list[bool] = []
    remove, mend = vars(purge)["_remove"], vars(instances)["_mend"]

    async def removing(subsystem: Subsystem, order: PurgeOrder, found: int) -> ReceiptLine:
        line: ReceiptLine = await remove(subsystem=subsystem, order=order, found=found)
        if subsystem.name == "instances":
            looks.append(order.project.id in {project for project, _ in await launch.missing()})
            await mend(Target(project=order.project.id, deployment=deployment))
        return line

    monkeypatch.setattr(purge, "_remove", removing)
    project = await bench.project()
    deployment = await _deployed(bench, project, "v1")
    await bench.schedule(project, timedelta(seconds=1))
    await bench.until(project, Phase.DELETED)

    assert looks == [False]
    assert await launch.count_project(project.id) == 0


async def _deployed(bench: Workbench, project: Project, version: str) -> str:
    spec = Spec(
        id=ids.new("dep"),
        project=project.id,
        workspace=project.workspace,
        workspace_name=WORKSPACE,
        slug=project.slug,
        environment=Environment.PRODUCTION,
        command=tuple(shop.app(version)),
        regions=(REGION,),
        requested_by=bench.admin.person,
        created_at=clock.now(),
    )
    await bench.client.deploy(project.id, Deploy(actor=bench.admin, now=clock.now(), spec=spec))

    async def ready() -> bool:
        member = (await bench.client.fleet(project.id)).member(spec.id)
        assert member is not None
        assert member.status is Status.READY, member
        return True

    await eventually(ready, within=40)
    return spec.id


def _act(bench: Workbench, deployment: str) -> Act:
    return Act(actor=bench.admin, now=clock.now(), deployment=deployment)


def _host(project: Project) -> str:
    return f"{project.slug}-{WORKSPACE}.lifecycle.localhost"


async def _is_live(bench: Workbench, project: Project, deployment: str) -> bool:
    fleet: Fleet = await bench.client.fleet(project.id)
    return fleet.is_live(deployment)
