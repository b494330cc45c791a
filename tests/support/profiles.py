"""How hard Hypothesis tries: the same examples every time in CI, new ones on every other run."""

import os

from hypothesis import Phase, settings

_SAME_EVERY_TIME = os.environ.get("CI") == "true"

QUICK = settings(max_examples=100, deadline=None, derandomize=_SAME_EVERY_TIME)
STORIES = settings(QUICK, max_examples=60, stateful_step_count=30)
# For bugs planted on purpose: stops at the first failure and does not shrink it.
HUNT = settings(
    STORIES, max_examples=400, derandomize=True, database=None, phases=[Phase.generate], report_multiple_bugs=False
)
