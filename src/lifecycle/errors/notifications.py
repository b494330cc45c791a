"""The catalog's lines about webhooks, deliveries and mail."""

from collections.abc import Mapping

from lifecycle.errors.codes import Code, Row

NOTIFICATIONS: Mapping[Code, Row] = {
    Code.WEBHOOK_NOT_FOUND: Row(
        404, "There is no webhook {webhook}.", "List what there is with 'lifecycle webhook list'."
    ),
    Code.WEBHOOK_URL_REFUSED: Row(
        422,
        "Nothing is sent to this URL: {problem}.",
        "Give an https:// URL of a public server. Whoever runs Lifecycle can allow private networks with "
        "LIFECYCLE_WEBHOOK_PRIVATE_NETWORKS.",
    ),
    Code.WEBHOOK_DISABLED: Row(
        409,
        "The webhook {webhook} is disabled, or there is none any more.",
        "Enable it with 'lifecycle webhook enable {webhook}'; 'lifecycle webhook show {webhook}' says why it is not.",
    ),
    Code.WEBHOOK_SECRET_CHANGING: Row(
        409,
        "The webhook {webhook} got a new secret of late, and the former one signs too until {until}; another one would "
        "end that at once.",
        "Give the receiver the present secret first. Wait, or, if that secret is lost or known to others, force it: "
        "'lifecycle webhook rotate {webhook} --force'.",
    ),
    Code.TOO_MANY_WEBHOOKS: Row(
        409, "The workspace has {limit} webhooks, and no more are allowed.", "Remove one that nobody needs."
    ),
    Code.DELIVERY_NOT_FOUND: Row(
        404,
        "There is no delivery {delivery}.",
        "List what there is with 'lifecycle delivery list'; those of long ago are removed.",
    ),
    Code.RECIPIENT_NOT_FOUND: Row(
        404, "Nothing was set for {address}.", "List what there is with 'lifecycle recipient list'."
    ),
    Code.TOO_MANY_RECIPIENTS: Row(
        409,
        "The workspace has {limit} addresses, and no more are allowed.",
        "Remove one, or write to a mailing list.",
    ),
}
