"""RenewalInfo: asks a CA when it wants a certificate to be renewed (RFC 9773), and tells CertificateService."""

from datetime import timedelta

from restate import Context, Service

from lifecycle import policies
from lifecycle.certs import issuing
from lifecycle.certs.issuing import Advice
from lifecycle.certs.model import Advised
from lifecycle.models import Durable

renewal_info = Service(
    "RenewalInfo",
    description="Asks a CA when it wants a certificate to be renewed.",
    ingress_private=True,
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.CA.invocations(),
)


class Question(Durable):
    """About which certificate of which authority."""

    domain: str
    ca: str
    certificate_id: str


@renewal_info.handler()
async def read(ctx: Context, question: Question) -> None:
    """Ask once; whether and when to ask again is decided by the answer's receiver."""
    advice = await ctx.run_typed(
        "read-window",
        issuing.read_window,
        policies.CA.options(Advice),
        ca=question.ca,
        certificate_id=question.certificate_id,
    )
    message = Advised(
        certificate_id=question.certificate_id,
        window=advice.window,
        retry_at=advice.window.retry_at if advice.window else None,
    )
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    ctx.generic_send("CertificateService", "advised", message.model_dump_json().encode(), key=question.domain)
