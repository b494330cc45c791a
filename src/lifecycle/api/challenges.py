"""/.well-known/acme-challenge: what CAs look for to see that a name leads to us (RFC 8555, section 8.3).

Public, and no part of the API: the gateway leads requests for any host name here. An answer is in the table of
challenges only between its publishing and its withdrawal.
"""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Response

from lifecycle.api.context import ContextOf
from lifecycle.certs import orders_store, probes
from lifecycle.errors import Code, LifecycleError

router = APIRouter(include_in_schema=False)

# RFC 8555, section 8.3: the base64url alphabet; as the gateway lets it through.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")


@router.get(f"{probes.PATH}{{token}}")
async def answer(token: Annotated[str, Path()], context: ContextOf) -> Response:
    """The key authorization of a challenge; or the answer that shows a pre-flight that it came to us."""
    probe = probes.expected_answer(token, installation=context.settings.deploy_apex)
    if probe is not None:
        return Response(probe, media_type="text/plain", headers={"Cache-Control": "no-store"})
    found = await orders_store.http_answer(context.db, token) if _TOKEN.fullmatch(token) else None
    if found is None:
        raise LifecycleError(Code.NOT_FOUND, path=f"{probes.PATH}{token}"[:200])
    return Response(found, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})
