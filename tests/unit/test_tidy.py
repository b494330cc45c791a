"""The house stays tidy: the checks of `tests/support/tidy.py` over the package, and proof that each can fail."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tests.support import tidy
from tests.support.tidy import CHECKS, Check, Source

_SERVICE = """
import restate
from lifecycle import clock, policies
shop = restate.Service("Shop")
"""


class Planted(NamedTuple):
    """Sources that break one rule, where, and what the complaint advises."""

    check: Check
    sources: Mapping[str, str]
    place: str
    advice: str


PLANTED = (
    Planted(
        tidy.imports_point_one_way,
        {"scheduler/deletion_rules.py": "from lifecycle import db", "db.py": "import lifecycle.clock", "clock.py": ""},
        "scheduler/deletion_rules.py:1",
        "move what both need down",
    ),
    Planted(
        tidy.imports_point_one_way,
        {"scheduler/store.py": "\nfrom lifecycle.scheduler.work import shop", "scheduler/work.py": _SERVICE},
        "scheduler/store.py:2",
        "call from above",
    ),
    Planted(
        tidy.imports_point_one_way,
        {"novelty.py": "from lifecycle.clock import now", "clock.py": ""},
        "novelty.py:1",
        "a place in LAYERS",
    ),
    Planted(
        tidy.imports_make_no_ring,
        {"a/store.py": "import lifecycle.b.store", "b/store.py": "from lifecycle.a import store"},
        "store.py:1",
        "answer upward",
    ),
    Planted(
        tidy.rules_are_pure,
        {"deploy/rules.py": "import aiohttp"},
        "deploy/rules.py:1",
        "take what it gives as an argument",
    ),
    Planted(
        tidy.rules_are_pure,
        {"deploy/rules.py": "from lifecycle.clock import now\nlate = now() > due"},
        "deploy/rules.py:2",
        "take `now` as an argument",
    ),
    Planted(tidy.sql_is_in_stores, {"api/keys.py": 'query = f"SELECT * FROM {table}"'}, "api/keys.py:1", "`store.py`"),
    Planted(
        tidy.files_and_functions_are_short,
        {"ids.py": "x = 1\n" * 401},
        "ids.py:400",
        "split it by topic",
    ),
    Planted(
        tidy.files_and_functions_are_short,
        {"ids.py": "def long():\n" + "    x = 1\n" * 50},
        "ids.py:1",
        "name its parts",
    ),
    Planted(
        tidy.services_are_bound,
        {"shop.py": _SERVICE, "endpoint.py": "from lifecycle.other import shop\nSERVICES = (shop,)"},
        "shop.py:4",
        "SERVICES in endpoint.py",
    ),
    Planted(
        tidy.clocks_are_read_in_steps,
        {"shop.py": _SERVICE + "async def handler(ctx):\n    return clock.now()"},
        "shop.py:6",
        "`await ctx.time()`",
    ),
    Planted(
        tidy.handlers_replay,
        {"shop.py": _SERVICE + "from asyncio import sleep as nap\nasync def handler(ctx):\n    await nap(1)"},
        "shop.py:7",
        "a delayed send",
    ),
    Planted(tidy.handlers_replay, {"shop.py": _SERVICE + "import random\nx = random.random()"}, "shop.py:6", "ctx.ran"),
    Planted(tidy.calls_are_typed, {"ids.py": "await ctx.generic_call('X', 'y', b'')"}, "ids.py:1", "`generic_send`"),
    Planted(
        tidy.steps_name_a_policy,
        {"shop.py": _SERVICE + "await ctx.run_typed('count', count)"},
        "shop.py:5",
        "pass `policies.DATABASE.options(Result)`",
    ),
    Planted(
        tidy.steps_name_a_policy,
        {"shop.py": _SERVICE + "await ctx.run_typed('count', count, policies.PRIVATE.options(int))"},
        "shop.py:5",
        "pass `policies.DATABASE.options(Result)`",
    ),
    Planted(
        tidy.steps_name_a_policy,
        {"shop.py": _SERVICE + "await ctx.run_typed('count', count, policies.DATABASE.options(int), 3)"},
        "shop.py:5",
        "pass it by keyword",
    ),
    Planted(tidy.steps_name_a_policy, {"shop.py": "await ctx.run('count', count)"}, "shop.py:1", "`ctx.run_typed`"),
    Planted(tidy.nothing_is_unfinished, {"ids.py": "x = 1  # FIX" + "ME later"}, "ids.py:1", "open an issue"),
    Planted(
        tidy.broad_excepts_say_why,
        {"ids.py": "try:\n    x()\nexcept (ValueError, Exception):  # noqa: BLE001\n    pass"},
        "ids.py:3",
        "say why",
    ),
    Planted(
        tidy.entries_are_recorded_in_one_place,
        {"api/keys.py": "from lifecycle.ledger import store as ledger_store\nledger_store.record(connection, entries)"},
        "api/keys.py:2",
        "record_untold",
    ),
    Planted(tidy.environment_is_read_in_settings, {"ids.py": "import os\nos.getenv('X')"}, "ids.py:2", "to Settings"),
)

ALLOWED = {
    "api/app.py": '"""SELECT nothing FROM here: a docstring."""\nfrom lifecycle import clock\n',
    "clock.py": "import os",
    "endpoint.py": "from lifecycle.shop import shop as it\nSERVICES = (it,)",
    "shop.py": _SERVICE
    + "async def step(*, name): return clock.now()\n"
    + "await ctx.run_typed('count', step, policies.DATABASE.options(int), name=1)",
    "db.py": "try:\n    x()\nexcept Exception:\n    undo()\n    raise",
    "ledger/writer.py": "try:\n    x()\nexcept Exception:  # noqa: BLE001  handed on to whoever waits\n    pass",
    "ledger/store.py": "q = 'SELECT 1'",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_is_tidy(check: Check) -> None:
    """Whoever reads any file finds it as the rules of the house promise."""
    complaints = list(check(tidy.package()))

    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted.check.__name__}-{PLANTED.index(planted)}")
def test_a_check_refuses_what_breaks_its_rule(planted: Planted) -> None:
    """A broken rule is named with its file and line, and with what to do instead."""
    complaints = list(planted.check([Source(path, text) for path, text in planted.sources.items()]))

    assert len(complaints) == 1
    assert planted.place in complaints[0]
    assert planted.advice in complaints[0]


def test_every_check_is_shown_to_fail() -> None:
    """A check that never refuses anything would protect nothing."""
    assert {planted.check for planted in PLANTED} == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_check_lets_good_code_pass(check: Check) -> None:
    """Code that keeps the rules is left alone."""
    assert not list(check([Source(path, text) for path, text in ALLOWED.items()]))


@pytest.mark.parametrize(
    ("check", "table"),
    [
        (tidy.sql_is_in_stores, "SQL_ELSEWHERE"),
        (tidy.environment_is_read_in_settings, "ENVIRONMENT_ELSEWHERE"),
    ],
)
def test_every_exception_is_still_needed(check: Check, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that no longer needs its exception loses it."""
    excused = set(getattr(tidy, table))
    monkeypatch.setattr(tidy, table, {})
    complaints = list(check(tidy.package()))

    assert all(any(f"/{path}:" in one for one in complaints) for path in excused)
