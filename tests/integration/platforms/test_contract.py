"""What every platform promises, shown on each of them for real."""

import asyncio
from datetime import timedelta
from time import monotonic

import pytest

from lifecycle.deploy.platforms.platform import InstanceStatus, PlatformDownError, Refused, Running
from tests.integration.platforms.kits import AT_ONCE, Kit, answers
from tests.support.waiting import eventually


async def test_a_started_instance_answers_at_its_address(kit: Kit) -> None:
    """What I deploy runs, is reachable, and is shown as running with what it printed."""
    spec = kit.spec("serve")
    started = await kit.serving(spec)

    found = await kit.found(spec.id)
    assert (found.id, found.project, found.deployment) == (spec.id, spec.project, spec.deployment)
    assert (found.status, found.address, found.exit_code) == (InstanceStatus.RUNNING, started.address, None)
    assert await kit.platform.find() == [found]
    assert "serving\n" in await kit.platform.logs(spec.id)


async def test_starting_twice_gives_one_instance(kit: Kit) -> None:
    """A start that is repeated finds what runs, also from another worker."""
    spec = kit.spec("serve")
    started = await kit.serving(spec)
    another = kit.again()

    assert await kit.platform.start(spec, kit.environment()) == started
    assert await another.start(spec, kit.environment()) == started
    assert (await kit.platform.logs(spec.id)).count("serving") == 1
    await another.close()


async def test_starts_at_the_same_time_give_one_instance(kit: Kit) -> None:
    """However many workers start it at once, it runs once."""
    spec, another = kit.spec("serve"), kit.again()
    async with asyncio.TaskGroup() as group:
        starts = [
            group.create_task(platform.start(spec, kit.environment()))
            for platform in (kit.platform, another)
            for _ in range(5)
        ]
    answered = {start.result() for start in starts}
    await another.close()

    assert len(answered) == 1
    started = answered.pop()
    assert isinstance(started, Running)
    await eventually(lambda: answers(started.address, "hello"), within=15)
    assert len(await kit.platform.find()) == 1
    assert (await kit.platform.logs(spec.id)).count("serving") == 1


async def test_several_started_at_the_same_time_have_addresses_of_their_own(kit: Kit) -> None:
    """Instances of one deployment never get in each other's way."""
    specs = {f"greeting {number}": kit.spec("serve") for number in range(5)}
    async with asyncio.TaskGroup() as group:
        for greeting, spec in specs.items():
            group.create_task(kit.serving(spec, greeting))

    assert len({found.address for found in await kit.platform.find()}) == 5


async def test_an_ended_instance_is_started_again(kit: Kit) -> None:
    """When my program was killed, its end and exit code are shown, and a start brings it back."""
    spec = kit.spec("serve")
    await kit.serving(spec)
    await kit.kill(spec.id)

    ended = await kit.exited(spec.id)
    assert (ended.exit_code, ended.address) == (137, None)
    again = await kit.serving(spec)
    found = await kit.found(spec.id)
    assert (found.status, found.address) == (InstanceStatus.RUNNING, again.address)


async def test_an_end_right_after_the_start_is_explained(kit: Kit) -> None:
    """When my program fails at once, I see its exit code and the last it said."""
    spec = kit.spec("fail")
    await kit.platform.start(spec, kit.environment())

    ended = await kit.exited(spec.id)
    assert (ended.exit_code, ended.address) == (3, None)
    assert (await kit.platform.logs(spec.id, lines=1)) == "boom\n"


async def test_a_command_that_does_not_exist_is_refused(kit: Kit) -> None:
    """A misspelt command is named, and nothing is left of the attempt."""
    spec = kit.spec("nonsense")
    refused = await kit.platform.start(spec, kit.environment())

    assert isinstance(refused, Refused)
    assert "no-such-program" in refused.why
    assert "not found" in refused.why
    assert await kit.rest() == []


async def test_a_deployment_of_the_wrong_kind_is_refused(kit: Kit) -> None:
    """A region that cannot run what I deploy says what it runs."""
    spec = kit.spec("serve")
    other = spec.model_copy(update={"image": "an/image" if spec.image is None else None})
    refused = await kit.platform.start(other, kit.environment())

    assert isinstance(refused, Refused)
    assert "This region runs" in refused.why
    assert await kit.rest() == []


async def test_secrets_reach_the_program_and_nothing_else(kit: Kit) -> None:
    """My environment variables are in my program, and neither in what is shown nor in what was printed."""
    spec, secret = kit.spec("serve"), "s3cr3t-of-a-customer"
    started = await kit.serving(spec, secret)

    assert await answers(started.address, secret)
    shown = f"{started} {await kit.platform.find()} {await kit.platform.inspect(spec.id)}"
    assert secret not in f"{shown} {await kit.platform.logs(spec.id)} {await kit.rest()}"


async def test_deployments_are_listed_apart(kit: Kit) -> None:
    """Each project and each deployment sees its own instances."""
    one = kit.spec("serve")
    other = kit.spec("serve", deployment="d_other")
    stranger = kit.spec("serve", project="prj_other", deployment="d_third")
    for spec in (one, other, stranger):
        await kit.platform.start(spec, kit.environment())

    async def ids(**wanted: str) -> set[str]:
        return {found.id for found in await kit.platform.find(**wanted)}

    assert await ids() == {one.id, other.id, stranger.id}
    assert await ids(deployment="d_one") == {one.id}
    assert await ids(deployment="d_other") == {other.id}
    assert await ids(project="prj_one") == {one.id, other.id}
    assert await ids(project="prj_one", deployment="d_third") == set()


async def test_another_worker_finds_it_again(kit: Kit) -> None:
    """Instances outlive the worker that started them, and the next one knows them."""
    spec = kit.spec("serve")
    started = await kit.serving(spec)
    await kit.platform.close()
    another = kit.again()

    found = await another.inspect(spec.id)
    assert found is not None
    assert (found.status, found.address) == (InstanceStatus.RUNNING, started.address)
    assert await another.find(deployment=spec.deployment) == [found]
    await another.remove(spec.id, grace=AT_ONCE)
    await another.close()
    assert await kit.rest() == []


async def test_removing_leaves_nothing(kit: Kit) -> None:
    """A removed instance is gone with everything that was its own, and removing it again is fine."""
    spec = kit.spec("serve")
    started = await kit.serving(spec)
    assert kit.processes()
    begun = monotonic()
    await kit.platform.remove(spec.id, grace=timedelta(seconds=30))

    assert monotonic() - begun < 10, "it waited for the whole grace"
    assert kit.processes() == []
    assert await kit.rest() == []
    assert not await answers(started.address, "hello")
    assert await kit.platform.inspect(spec.id) is None
    assert await kit.platform.logs(spec.id) == ""
    await kit.platform.remove(spec.id, grace=timedelta(seconds=30))


async def test_what_does_not_end_is_ended(kit: Kit) -> None:
    """A program that ignores the request to end is gone after its grace, and not before."""
    spec = kit.spec("stay")
    await kit.platform.start(spec, kit.environment())
    await eventually(lambda: _said(kit, spec.id, "staying"), within=15)
    begun = monotonic()
    await kit.platform.remove(spec.id, grace=timedelta(seconds=1))

    assert 1 <= monotonic() - begun < 10
    assert kit.processes() == []
    assert await kit.rest() == []


async def test_removals_at_the_same_time_are_fine(kit: Kit) -> None:
    """Two workers that remove the same instance do not disturb each other."""
    spec, another = kit.spec("serve"), kit.again()
    await kit.serving(spec)
    async with asyncio.TaskGroup() as group:
        for platform in (kit.platform, another, kit.platform):
            group.create_task(platform.remove(spec.id, grace=timedelta(seconds=5)))
    await another.close()

    assert await kit.rest() == []


async def test_memory_has_a_limit(kit: Kit) -> None:
    """A program that takes more memory than it was given ends, and one that does not goes on."""
    greedy = kit.spec("take 200 MiB")
    modest = kit.spec("take 200 MiB").model_copy(update={"memory_mib": 400})
    for spec in (greedy, modest):
        await kit.platform.start(spec, {**kit.environment(), "PYTHONUNBUFFERED": "1"})

    assert (await kit.exited(greedy.id)).exit_code
    await eventually(lambda: _said(kit, modest.id, "taken"), within=15)
    assert (await kit.found(modest.id)).status == InstanceStatus.RUNNING


async def test_what_was_never_started_is_absent(kit: Kit) -> None:
    """Asking for an instance that does not exist is answered, and is no failure."""
    assert await kit.platform.inspect("i-never") is None
    assert await kit.platform.logs("i-never") == ""
    assert await kit.platform.find() == []
    await kit.platform.remove("i-never", grace=AT_ONCE)


async def test_an_outage_is_told_from_a_refusal(kit: Kit) -> None:
    """When a region is down, everything that was asked of it is tried again later; nothing is called my mistake."""
    broken, spec = kit.broken(), kit.spec("serve")
    with pytest.raises(PlatformDownError):
        await broken.start(spec, kit.environment())
    with pytest.raises(PlatformDownError):
        await broken.inspect(spec.id)
    with pytest.raises(PlatformDownError):
        await broken.find()
    with pytest.raises(PlatformDownError):
        await broken.logs(spec.id)
    with pytest.raises(PlatformDownError):
        await broken.remove(spec.id, grace=AT_ONCE)
    await broken.close()


async def _said(kit: Kit, instance: str, text: str) -> bool:
    return text in await kit.platform.logs(instance)
