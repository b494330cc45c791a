"""A small picture of when things are due, for a terminal."""

import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

# Each part gets a quarter of the width, so that an hour is as easy to see as a month.
_PARTS = (("now", timedelta(0)), ("1h", timedelta(hours=1)), ("1d", timedelta(days=1)), ("7d", timedelta(days=7)))
_LEVELS = "▁▂▃▄▅▆▇█"
_LONGEST = timedelta(days=90)
_WIDEST = 120


def picture(moments: Sequence[datetime], now: datetime, *, width: int) -> tuple[str, str] | None:
    """How much is due when: a line of bars, and below it one that says where an hour, a day and a week are.

    Args:
        moments: when things are due; what is overdue stands at the beginning, what is far away at the end.
        now: the present moment.
        width: of the terminal, in characters.

    Returns:
        None when there is nothing to be seen, or no room for it.
    """
    part = min(width, _WIDEST) // len(_PARTS)
    if len(moments) < 2 or part < 6:  # noqa: PLR2004  one is said better by its line
        return None
    counts = [0] * (part * len(_PARTS))
    for moment in moments:
        counts[_place(moment - now, part)] += 1
    most = max(counts)
    bars = "".join(" " if not count else _LEVELS[_level(count, most)] for count in counts)
    return bars.rstrip(), "".join(name.ljust(part) for name, _ in _PARTS).rstrip()


def _place(rest: timedelta, part: int) -> int:
    edges = [length for _, length in _PARTS] + [_LONGEST]
    for number, (begins, ends) in enumerate(itertools.pairwise(edges)):
        if rest < ends:
            share = max(rest - begins, timedelta(0)) / (ends - begins)
            return number * part + int(share * part)
    return part * len(_PARTS) - 1


def _level(count: int, most: int) -> int:
    """Few must be seen beside many, so the height grows with the logarithm."""
    if most == 1:
        return 3
    return round(math.log(count) / math.log(most) * (len(_LEVELS) - 1))
