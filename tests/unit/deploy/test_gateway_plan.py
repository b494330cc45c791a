"""What HAProxy is told: no more than what differs, and nothing about what was overtaken."""

from datetime import UTC, datetime

from lifecycle.deploy.gateway import Change, Routes, Wanted, plan, suspended
from lifecycle.deploy.gateway.maps import GENERATIONS, HOSTS, TARGETS
from lifecycle.deploy.gateway.plan import Server
from lifecycle.deploy.gateway.pools import Pools
from tests.support.traffic import Answer, Timeline

_NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_servers_that_stay_are_not_touched() -> None:
    """An instance that goes on is not interrupted because a neighbour comes or goes."""
    servers = {
        "s1": Server("10.0.0.1:80", ready=True),
        "s2": Server("10.0.0.2:80", ready=True),
        "s3": Server("0.0.0.0:1", ready=False),
        "s4": Server("10.0.0.4:80", ready=False),
    }
    commands = list(plan.server_commands("pool-0001", ("10.0.0.1:80", "10.0.0.9:81", "", "10.0.0.4:80"), servers))

    assert [" ".join(command) for command in commands] == [
        "set server pool-0001/s2 state maint",
        "set server pool-0001/s2 addr 10.0.0.9 port 81",
        "set server pool-0001/s2 state ready",
        "set server pool-0001/s4 state ready",
    ]


def test_only_the_owner_removes_a_host() -> None:
    """A project cannot remove what another project serves."""
    present = {HOSTS: {"a.b": "prj_1/dep_1", "c.d": "prj_2/dep_2"}, TARGETS: {}, GENERATIONS: {}}
    change = Change(project="prj_1", generation=2, hosts={"a.b": None, "c.d": None, "absent": None})
    edits = plan.edits(change, present, Pools(1, 1), now=_NOW)

    assert edits == {HOSTS: {"a.b": None}, TARGETS: {}, GENERATIONS: {"prj_1": "2"}}


def test_a_project_that_moved_on_while_the_database_was_read_is_left_alone() -> None:
    """Old news from the database does not undo a switch; real differences are mended all the same."""
    present = {
        HOSTS: {"a.b": "prj_1/dep_new", "c.d": "prj_2/dep_wrong"},
        TARGETS: {"dep_new": "prj_1/single/10.0.0.1:80"},
        GENERATIONS: {"prj_1": "6", "prj_2": "9", "prj_3": "1"},
    }
    wanted = Wanted(
        projects={
            "prj_1": Routes(generation=5, hosts={"a.b": "dep_old"}),
            "prj_2": Routes(generation=8, hosts={"c.d": "dep_right"}),
        }
    )
    # prj_2 had its 9 before the reading, so the database is right about it; prj_3 is new since.
    desired = plan.desired(wanted, present, Pools(1, 1), before={"prj_1": "5", "prj_2": "9"}, now=_NOW)

    assert desired.overtaken == ("prj_1", "prj_3")
    assert desired.tables == {
        HOSTS: {"a.b": "prj_1/dep_new", "c.d": "prj_2/dep_right"},
        TARGETS: {"dep_new": "prj_1/single/10.0.0.1:80"},
        GENERATIONS: {"prj_1": "6", "prj_2": "8", "prj_3": "1"},
    }


def test_the_time_of_a_suspension_never_leaves_too_much() -> None:
    """A visitor is told too little time left rather than too much."""
    assert suspended(datetime(2026, 11, 24, 7, 36, 15, 999_999, tzinfo=UTC)) == "suspended:2026-11-24T07:36:15Z"


def test_an_answer_of_a_deployment_that_was_not_live_is_found() -> None:
    """The measure that the load tests rely on can tell right from wrong."""
    timeline = Timeline("a")
    timeline.switched("b", asked=10, confirmed=11)

    def answer(sent: float, received: float, body: str) -> Answer:
        return Answer(sent, received, 200, body)

    right = [answer(1, 2, "a"), answer(9, 10.5, "b"), answer(10.9, 12, "a"), answer(11.5, 12, "b")]
    wrong = [answer(1, 2, "b"), answer(11.1, 12, "a"), answer(5, 6, "c")]

    assert timeline.wrong(right + wrong, name=str) == wrong
