"""Which URLs are posted to, by what can be said without DNS; and how names are looked up."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_network
from threading import Event, Thread

import pytest

from lifecycle.notifications.look_ups import Address, LookUps, LookUpsBusyError
from lifecycle.notifications.model import Outcome
from lifecycle.notifications.webhooks import (
    AddressRefusedError,
    UrlRefusedError,
    Webhooks,
    check_name,
    check_url,
    origin,
)
from tests.support.waiting import eventually

PRIVATE = (ip_network("10.1.0.0/16"),)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0", "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "1.0x1", "127.0.0.1.", "%31%32%37.0.0.1"],
)
def test_an_address_in_disguise_is_refused(host: str) -> None:
    """Decimal, octal, hexadecimal or cut short: what the system would take for an address is written as one, or not."""
    with pytest.raises(UrlRefusedError, match="usual form"):
        check_url(f"https://{host}/", PRIVATE)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://10.2.0.1/", "http://8.8.8.8/"])
def test_an_address_that_is_not_allowed_is_refused(url: str) -> None:
    """Without TLS, also a public one: only networks of our own are left to be heard by."""
    with pytest.raises(AddressRefusedError):
        check_url(url, PRIVATE)


@pytest.mark.parametrize(
    "url", ["https://8.8.8.8/", "https://10.1.0.1/", "http://10.1.0.1/", "https://hooks.example.com./a?b", "http://in/"]
)
def test_a_url_that_may_be_right_is_let_through(url: str) -> None:
    """A name is looked at when it is connected to."""
    assert check_url(url, PRIVATE)


def test_of_a_url_others_see_the_host_only() -> None:
    """With chat services, whoever knows the path may write."""
    assert origin("https://hooks.chat.example:8443/services/T0/SECRET?token=1") == "https://hooks.chat.example:8443"


async def test_a_name_whose_answer_changes_is_looked_at_again_when_something_is_sent() -> None:
    """It was public when the webhook was added; when it leads inside later, nothing is sent, and it says why."""
    answers = iter(["93.184.215.14", "10.0.0.7"])
    look_ups = LookUps(lambda _host, _family: [Address(socket.AF_INET, next(answers))])
    webhooks = Webhooks((), timeout=timedelta(seconds=5), look_ups=look_ups)
    await check_name("https://hooks.example.com/", (), look_ups, owner="ws")
    said = await webhooks.post("https://hooks.example.com/", {}, b"{}", owner="ws")
    await webhooks.close()

    assert said.outcome is Outcome.FAILED
    assert said.detail == "Nothing is sent there: hooks.example.com leads to 10.0.0.7, which is not public."


async def test_a_name_that_leads_outside_is_not_posted_to_without_tls() -> None:
    """A message in clear goes to the allowed networks and nowhere else."""
    look_ups = LookUps(lambda _host, _family: [Address(socket.AF_INET, "93.184.215.14")])
    webhooks = Webhooks(PRIVATE, timeout=timedelta(seconds=5), look_ups=look_ups)
    said = await webhooks.post("http://hooks.example.com/", {}, b"{}", owner="ws")
    await webhooks.close()

    assert "without TLS" in said.detail


async def test_names_whose_servers_never_answer_hold_up_nobody_else() -> None:
    """One workspace with dead names fails by its own time-out; others are looked up, and its own rest is not blamed."""
    with _dead() as look_up:
        look_ups = LookUps(look_up, for_one=2)
        webhooks = Webhooks((), timeout=timedelta(milliseconds=200), look_ups=look_ups)
        dead = [await webhooks.post(f"https://dead{n}.example/", {}, b"{}", owner="ws_1") for n in (1, 1, 2, 3)]
        busy = await webhooks.post("https://quick.example/", {}, b"{}", owner="ws_1")
        other = await webhooks.post("https://quick.example/", {}, b"{}", owner="ws_2")
    await webhooks.close()

    # The same name twice takes one place; the places stay taken behind the time-out, until the threads end.
    assert [one.outcome for one in dead] == [Outcome.FAILED, Outcome.FAILED, Outcome.FAILED, Outcome.BUSY]
    assert busy.outcome is Outcome.BUSY
    assert "leads to 127.0.0.1" in other.detail


async def test_when_all_look_ups_are_taken_nobody_is_blamed_and_they_come_back() -> None:
    """The failure is ours then; once the system has given the dead names up, all is as before."""
    with _dead() as look_up:
        look_ups = LookUps(look_up, at_once=3)
        for n in range(3):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await look_ups.addresses(f"dead{n}.example", owner=f"ws_{n}")
        with pytest.raises(LookUpsBusyError):
            await look_ups.addresses("quick.example", owner="ws_9")

    async def found() -> Sequence[Address]:
        with suppress(LookUpsBusyError):
            return await look_ups.addresses("quick.example", owner="ws_9")
        return []

    assert await eventually(found, within=5)


async def test_a_name_that_got_no_thread_is_looked_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine has no more threads nobody is blamed, and no place stays taken."""

    def none_left(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    look_ups = LookUps(lambda _host, _family: [Address(socket.AF_INET, "127.0.0.1")], at_once=1)
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", none_left)
        with pytest.raises(LookUpsBusyError):
            await look_ups.addresses("hooks.example.com", owner="ws")

    async with asyncio.timeout(5):
        assert await look_ups.addresses("hooks.example.com", owner="ws")


@contextmanager
def _dead() -> Iterator[Callable[[str, socket.AddressFamily], Sequence[Address]]]:
    """Looks names up; those with `dead` in them take until the end of the block."""
    over = Event()

    def look_up(host: str, _family: socket.AddressFamily) -> Sequence[Address]:
        if "dead" in host:
            over.wait()
        return [Address(socket.AF_INET, "127.0.0.1")]

    try:
        yield look_up
    finally:
        over.set()
