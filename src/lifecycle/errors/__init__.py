"""Every refusal Lifecycle can give: its stable code, HTTP status, sentence and hint.

One table serves handlers, API and command line; `docs/errors.md` is generated from it.
Parameters in a sentence are ids and times, never secrets.
"""

from collections.abc import Mapping
from string import Formatter

from restate import TerminalError

from lifecycle.errors.certificates import CERTIFICATES
from lifecycle.errors.codes import Code, Row
from lifecycle.errors.general import GENERAL
from lifecycle.errors.notifications import NOTIFICATIONS

__all__ = ["CATALOG", "Code", "LifecycleError", "Row", "explanation", "parameters", "shown"]

_LONGEST_SHOWN = 253  # the length of a host name

# In the order of the codes, which is that of the documentation.
_ROWS = {**GENERAL, **CERTIFICATES, **NOTIFICATIONS}
CATALOG: Mapping[Code, Row] = {code: _ROWS[code] for code in Code}


class LifecycleError(TerminalError):
    """A refusal: retrying cannot change it.

    It is a `restate.TerminalError` on purpose: one that nobody translates is answered, not retried for ever.

    Args:
        code: which refusal.
        params: the values its sentence names; ids and times, never secrets. Further ones travel along as
            extra members of the problem document.
    """

    def __init__(self, code: Code, **params: str) -> None:
        self.code = code
        self.params = params
        row = CATALOG[code]
        super().__init__(
            row.message.format_map(params), status_code=row.status, metadata={"code": code.value, **params}
        )

    @property
    def hint(self) -> str:
        """What to do next."""
        return CATALOG[self.code].hint.format_map(self.params)


def explanation(code: Code) -> tuple[str, str]:
    """Sentence and hint of a code, with `{name}` where a refusal has a value."""
    row = CATALOG[code]
    named = {name: f"{{{name}}}" for name in parameters(row.message) | parameters(row.hint)}
    return row.message.format_map(named), row.hint.format_map(named)


def shown(text: str) -> str:
    """What somebody typed, as a sentence may repeat it: of a length to read, and nothing that steers a terminal."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in cut)


def parameters(text: str) -> set[str]:
    """The names that a message or hint of the catalog expects."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}
