"""The promises about deployments (design, invariants 11, 13, 15 and 16), each a checker of a modelled project.

Some hold at every moment, the others when nothing is under way any more. A checker returns what is wrong, in
sentences; nothing when all is well.
"""

from collections.abc import Callable, Sequence

from lifecycle.deploy.model import ENDED, Environment, Status
from tests.support.fleet_model import Picture, World

Checker = Callable[[World], list[str]]

_BY_PEOPLE = ("promote", "rollback", "woken")


def live_hosts_are_served(world: World) -> list[str]:
    """15: what is live has instances, and the gateway knows it; unless the project rests, or they cannot be started."""
    grace = world.fleet.grace
    excused = {*world.ill, *(() if grace is None else (*grace.resting, *grace.waking))}
    wrong = []
    for host, route in world.routes.live_hosts():
        target = route.deployment
        if target is None or target in excused or world.fleet.sealed:
            continue
        if target not in world.up:
            wrong.append(f"{host} leads to {target}, whose instances are gone")
        elif world.routes.published[host] != (target, True):
            wrong.append(f"{host} is to lead to {target}, and the gateway has {world.routes.published[host]}")
    return wrong


def pins_hold(world: World) -> list[str]:
    """16: while an environment is pinned, only a promote or a rollback moves a live host of it."""
    causes = {order.switch.number: order.cause for order in world.orders}
    return [
        f"{', '.join(turned.moved)} moved by {causes[turned.order.number]} although pinned"
        for turned in world.routes.turned
        if turned.pinned and turned.moved and causes[turned.order.number] not in _BY_PEOPLE
    ]


def switches_find_what_they_expect(world: World) -> list[str]:
    """Every switch finds the live deployment that it was decided upon."""
    return list(world.routes.conflicts)


def the_newest_wins(world: World) -> list[str]:
    """A rollout never takes the place of a newer deployment."""
    return [
        f"{order.switch.deployment} went live by itself over the newer {order.switch.expected}"
        for order in world.orders
        if order.switch.live and order.cause == "activate" and not order.newer
    ]


def the_ended_never_go_live(world: World) -> list[str]:
    """What was cancelled, failed, superseded or stopped is never made live."""
    return [
        f"{order.switch.deployment} was made live although {order.status.value}"
        for order in world.orders
        if order.switch.live and order.status in ENDED and order.status is not None
    ]


def one_is_live(world: World) -> list[str]:
    """15: decisions, database and every live host agree on the one live deployment of each environment."""
    wrong = []
    for environment in Environment:
        live, row = world.fleet.live.get(environment), world.routes.rows[environment]
        if (row.live, row.pinned) != (live, environment in world.fleet.pinned):
            wrong.append(f"{environment.value} has {live} live and the database has {row}")
        wrong += [
            f"{host} leads to {route.deployment} instead of {live}"
            for host, route in world.routes.live_hosts(environment)
            if route.deployment != live
        ]
    return [] if world.fleet.sealed else wrong


def what_is_wanted_runs(world: World) -> list[str]:
    """What is ready runs, and nothing runs that was given up, replaced before its time, or stopped."""
    grace = world.fleet.grace
    resting = () if grace is None else grace.resting
    wanted = {one.id for one in world.fleet.members if one.status is Status.READY and one.id not in resting}
    wanted = set() if world.fleet.sealed else wanted
    wrong = [f"{one} runs for nobody" for one in sorted((world.up | world.routes.wanted) - wanted)]
    return wrong + [f"{one} is ready and does not run" for one in sorted(wanted - world.up - world.ill)]


def nothing_is_left_under_way(world: World) -> list[str]:
    """Every rollout, wake, rollback and return from a deletion comes to an end."""
    fleet, grace = world.fleet, world.fleet.grace
    left = {
        "rolling": fleet.rolling,
        "queued": [spec.id for spec in fleet.queued],
        "waking": [one.id for one in fleet.members if one.waking is not None],
        "progressing": [one.id for one in fleet.members if not one.status.is_terminal],
        "coming back": grace.waking if grace is not None and grace.over else (),
        "rollouts": list(world.rollouts),
    }
    if not fleet.sealed and world.routes.suspended and grace is None:
        left["suspended"] = "all hosts"
    return [f"{name}: {value}" for name, value in left.items() if value]


def what_is_idle_stands_by(world: World) -> list[str]:
    """What runs and serves nothing has a countdown to its stop, unless somebody keeps it."""
    fleet = world.fleet
    branches = {route.deployment for route in world.routes.hosts.values() if route.kind.value == "branch"}
    serving = {*fleet.live.values(), *branches, *world.armed, *world.kept}
    return [
        f"{one.id} runs for nothing and nobody stops it"
        for one in fleet.members
        if one.running and one.status is Status.READY and one.id not in serving and not fleet.sealed
    ]


def clicks_are_kept(world: World) -> list[str]:
    """What somebody was told would happen has happened, unless somebody decided otherwise later."""
    wrong = []
    for about, (action, deployment) in world.clicks.items():
        member = world.fleet.member(deployment)
        if action == "rollback" and about in tuple(Environment):
            environment = Environment(about)
            if world.fleet.live.get(environment) != deployment or environment not in world.fleet.pinned:
                wrong.append(f"rolled back to {deployment}, and {world.fleet.live.get(environment)} is live")
        elif action == "stop" and member is not None and member.status is not Status.STOPPED:
            wrong.append(f"{deployment} was stopped and is {member.status.value}")
    return wrong


def deletions_leave_no_trace(world: World) -> list[str]:
    """After a deletion was scheduled and cancelled, everything is as it was before."""
    wrong = []
    for before, after in world.pictures:
        wrong += [
            f"{name} was {former} and is {latter}"
            for name, former, latter in zip(Picture._fields, before, after, strict=True)
            if former != latter
        ]
    return wrong


ALWAYS: Sequence[Checker] = (
    live_hosts_are_served,
    pins_hold,
    switches_find_what_they_expect,
    the_newest_wins,
    the_ended_never_go_live,
)
IN_THE_END: Sequence[Checker] = (
    one_is_live,
    what_is_wanted_runs,
    nothing_is_left_under_way,
    what_is_idle_stands_by,
    clicks_are_kept,
    deletions_leave_no_trace,
)


def violations(world: World, checkers: Sequence[Checker] = ALWAYS) -> list[str]:
    """Whatever any of these checkers found, each with the name of the checker."""
    return [f"{checker.__name__}: {found}" for checker in checkers for found in checker(world)]
