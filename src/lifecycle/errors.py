"""Every refusal Lifecycle can give: its stable code, HTTP status, sentence and hint.

One table serves handlers, API and command line; `docs/errors.md` is generated from it.
Parameters in a sentence are ids and times, never secrets.
"""

from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import NamedTuple

from restate import TerminalError


class Code(StrEnum):
    """Stable identifiers of refusals; programs may branch on them."""

    INVALID_REQUEST = "invalid_request"
    MALFORMED_JSON = "malformed_json"
    BODY_TOO_LARGE = "body_too_large"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    KEY_MISSING = "key_missing"
    KEY_INVALID = "key_invalid"
    KEY_NOT_FOUND = "key_not_found"
    ROLE_REQUIRED = "role_required"
    PROJECT_NOT_FOUND = "project_not_found"
    PROJECT_PROTECTED = "project_protected"
    SLUG_TAKEN = "slug_taken"
    CONFIRM_MISMATCH = "confirm_mismatch"
    GRACE_OUT_OF_RANGE = "grace_out_of_range"
    DUE_IN_PAST = "due_in_past"
    GRACE_AND_DUE_AT = "grace_and_due_at"
    GENERATION_MISMATCH = "generation_mismatch"
    DELETION_NOT_SCHEDULED = "deletion_not_scheduled"
    DELETION_PENDING = "deletion_pending"
    DELETION_STARTED = "deletion_started"
    DELETION_HELD = "deletion_held"
    SECOND_ADMINISTRATOR_REQUIRED = "second_administrator_required"
    HOLD_NOT_FOUND = "hold_not_found"
    TOO_MANY_HOLDS = "too_many_holds"
    ACTION_NOT_FOUND = "action_not_found"
    TOMBSTONE_NOT_FOUND = "tombstone_not_found"
    DEPLOYMENT_NOT_FOUND = "deployment_not_found"
    DEPLOYMENT_NOT_READY = "deployment_not_ready"
    DEPLOYMENT_NOT_STOPPED = "deployment_not_stopped"
    DEPLOYMENT_STOPPED = "deployment_stopped"
    DEPLOYMENT_LIVE = "deployment_live"
    DEPLOYMENT_ALREADY_LIVE = "deployment_already_live"
    NOTHING_LIVE = "nothing_live"
    ROLLOUT_FINISHED = "rollout_finished"
    TOO_MANY_ROLLOUTS = "too_many_rollouts"
    PROJECT_ENDING = "project_ending"
    REGION_UNKNOWN = "region_unknown"
    SOURCE_NOT_EXPECTED = "source_not_expected"
    SOURCE_TOO_LARGE = "source_too_large"
    STANDBY_NOT_SCHEDULED = "standby_not_scheduled"
    DOMAIN_INVALID = "domain_invalid"
    DOMAIN_RESERVED = "domain_reserved"
    DOMAIN_TAKEN = "domain_taken"
    DOMAIN_NOT_FOUND = "domain_not_found"
    CANCEL_LINK_INVALID = "cancel_link_invalid"
    RECEIPT_INVALID = "receipt_invalid"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    PLATFORM_UNAVAILABLE = "platform_unavailable"
    INTERNAL = "internal"
    CERTIFICATE_NAMES_MISSING = "certificate_names_missing"
    CERTIFICATE_NAME_INVALID = "certificate_name_invalid"
    CERTIFICATE_NAME_TOO_LONG = "certificate_name_too_long"
    CERTIFICATE_NAME_PUBLIC_SUFFIX = "certificate_name_public_suffix"
    CERTIFICATE_NAME_NOT_PUBLIC = "certificate_name_not_public"
    CERTIFICATE_ADDRESS_NOT_OFFERED = "certificate_address_not_offered"
    CERTIFICATE_TOO_MANY_NAMES = "certificate_too_many_names"
    CERTIFICATE_CHALLENGE_UNFIT = "certificate_challenge_unfit"
    CERTIFICATE_PROFILE_UNKNOWN = "certificate_profile_unknown"


class Row(NamedTuple):
    """One line of the catalog."""

    status: int
    message: str
    hint: str


CATALOG: Mapping[Code, Row] = {
    Code.INVALID_REQUEST: Row(
        422, "The request is not valid: {problem}.", "Mend the named field; /docs shows what each accepts."
    ),
    Code.MALFORMED_JSON: Row(
        400, "The body is not JSON: {problem}.", "Send one JSON object with Content-Type: application/json."
    ),
    Code.BODY_TOO_LARGE: Row(
        413,
        "The body is larger than {limit_bytes} bytes.",
        "Send a smaller body; no request here needs more.",
    ),
    Code.NOT_FOUND: Row(404, "There is nothing at {path}.", "See /docs for the paths that exist."),
    Code.METHOD_NOT_ALLOWED: Row(405, "{path} does not answer {method}.", "See /docs for the methods of this path."),
    Code.KEY_MISSING: Row(
        401, "No API key was sent.", "Send 'Authorization: Bearer <key>'; an administrator makes keys."
    ),
    Code.KEY_INVALID: Row(
        401, "The API key is unknown or revoked.", "Ask an administrator of the workspace for a new key."
    ),
    Code.KEY_NOT_FOUND: Row(
        404, "There is no API key {key} in this workspace.", "List the keys with 'lifecycle key list'."
    ),
    Code.ROLE_REQUIRED: Row(
        403,
        "This needs the role {required}; the key has {role}.",
        "Ask somebody with that role, or have an administrator make a key with it.",
    ),
    Code.PROJECT_NOT_FOUND: Row(
        404,
        "There is no such project in this workspace.",
        "List projects with 'lifecycle project list'; for a deleted one see /v1/tombstones/{{project}}.",
    ),
    Code.PROJECT_PROTECTED: Row(
        409,
        "Project {project} is protected against deletion.",
        "An administrator can lift the protection: PATCH /v1/projects/{project} with protected=false.",
    ),
    Code.SLUG_TAKEN: Row(
        409,
        "The slug {slug} is in use in this workspace.",
        "Choose another slug, or use the existing project.",
    ),
    Code.CONFIRM_MISMATCH: Row(
        422,
        "'confirm' does not repeat the slug of project {project}.",
        "Type the project's slug into 'confirm', exactly as shown.",
    ),
    Code.GRACE_OUT_OF_RANGE: Row(
        422,
        "The due time {due_at} leaves {grace_seconds} s; allowed are {minimum_seconds} to {maximum_seconds} s.",
        "Choose a time inside the range. To delete sooner, a second administrator can expedite.",
    ),
    Code.DUE_IN_PAST: Row(
        422,
        "The due time {due_at} has already passed.",
        "Give a time in the future, in RFC 3339 with an offset.",
    ),
    Code.GRACE_AND_DUE_AT: Row(
        422, "Both 'grace' and 'due_at' were given.", "Give one of the two, or none for the default grace."
    ),
    Code.GENERATION_MISMATCH: Row(
        412,
        "Generation {expected} was asked for; project {project} is at generation {generation}.",
        "Somebody changed it meanwhile: read it again, and repeat with the new ETag if you still want it.",
    ),
    Code.DELETION_NOT_SCHEDULED: Row(
        409,
        "Project {project} has no scheduled deletion.",
        "Nothing is pending, so nothing needs to be done.",
    ),
    Code.DELETION_PENDING: Row(
        409,
        "A deletion of project {project} is scheduled, so it cannot be protected now.",
        "Cancel the deletion first, or place a hold: PUT /v1/projects/{project}/holds/{{name}}.",
    ),
    Code.DELETION_STARTED: Row(
        409,
        "The deletion of project {project} began at {started_at} and cannot be undone.",
        "Watch it with GET /v1/projects/{project}/deletion; the receipt follows as a tombstone.",
    ),
    Code.DELETION_HELD: Row(
        409,
        "The deletion of project {project} is blocked by: {blocked_by}.",
        "Release the holds first: DELETE /v1/projects/{project}/holds/{{name}}.",
    ),
    Code.SECOND_ADMINISTRATOR_REQUIRED: Row(
        409,
        "{person} asked for the deletion of project {project}, so somebody else must expedite it.",
        "Ask another administrator to run the same command with a key of their own.",
    ),
    Code.HOLD_NOT_FOUND: Row(
        404, "Project {project} has no hold {name}.", "GET /v1/projects/{project}/deletion lists the holds."
    ),
    Code.TOO_MANY_HOLDS: Row(
        409, "Project {project} already has {limit} holds.", "Release one that is no longer needed."
    ),
    Code.ACTION_NOT_FOUND: Row(
        404, "There is no action {action} in this workspace.", "List them with 'lifecycle actions list'."
    ),
    Code.TOMBSTONE_NOT_FOUND: Row(
        404,
        "There is no tombstone of {project} in this workspace.",
        "Only a finished deletion leaves one; GET /v1/projects/{{project}}/deletion shows a running one.",
    ),
    Code.DEPLOYMENT_NOT_FOUND: Row(
        404,
        "There is no deployment {deployment} in this workspace, or it is too old to be acted upon.",
        "List them with 'lifecycle deployments'.",
    ),
    Code.DEPLOYMENT_NOT_READY: Row(
        409,
        "Deployment {deployment} is {status}; only a ready one can serve.",
        "Wait until it is ready, or choose another one with 'lifecycle deployments'.",
    ),
    Code.DEPLOYMENT_NOT_STOPPED: Row(
        409, "Deployment {deployment} is {status} and not stopped.", "Only a stopped deployment can be woken."
    ),
    Code.DEPLOYMENT_STOPPED: Row(
        409,
        "Deployment {deployment} is stopped.",
        "Wake it first: POST /v1/deployments/{deployment}/wake; a rollback wakes its target by itself.",
    ),
    Code.DEPLOYMENT_LIVE: Row(
        409,
        "Deployment {deployment} is live and cannot be stopped.",
        "Deploy, promote or roll back to another one first; this one is then stopped by itself.",
    ),
    Code.DEPLOYMENT_ALREADY_LIVE: Row(
        409, "Deployment {deployment} is live already.", "Nothing needs to be done; to go back, choose another one."
    ),
    Code.NOTHING_LIVE: Row(
        409,
        "No deployment is live in the environment {environment}, so there is nothing to roll back.",
        "Promote a ready deployment instead.",
    ),
    Code.ROLLOUT_FINISHED: Row(
        409,
        "The rollout of deployment {deployment} has ended as {status}.",
        "To undo a finished one, roll back: POST /v1/deployments/{{earlier deployment}}/rollback.",
    ),
    Code.TOO_MANY_ROLLOUTS: Row(
        409,
        "{limit} rollouts of project {project} are waiting already.",
        "Wait for some, or cancel those that nobody needs.",
    ),
    Code.PROJECT_ENDING: Row(
        409,
        "Project {project} is scheduled for deletion or being deleted, so its deployments stay as they are.",
        "If the project is to live on, cancel its deletion: DELETE /v1/projects/{project}/deletion.",
    ),
    Code.REGION_UNKNOWN: Row(
        422, "There is no region {region}.", "Choose from: {regions}. LIFECYCLE_REGIONS of API and worker names them."
    ),
    Code.SOURCE_NOT_EXPECTED: Row(
        409,
        "Deployment {deployment} does not wait for a source.",
        "Deploy with 'source': true, and upload while it is pending or building.",
    ),
    Code.SOURCE_TOO_LARGE: Row(
        413, "The source is larger than {limit_bytes} bytes.", "Leave out what the build does not need."
    ),
    Code.STANDBY_NOT_SCHEDULED: Row(
        409,
        "The stop of deployment {deployment} is not scheduled.",
        "Nothing is pending, so nothing needs to be done.",
    ),
    Code.DOMAIN_INVALID: Row(
        422,
        "{domain} cannot be a domain of a project: {problem}.",
        "Give a full host name that you own, such as www.example.com.",
    ),
    Code.DOMAIN_RESERVED: Row(
        422,
        "{domain} is reserved.",
        "Bring a public domain of your own; names under the platform's are given to deployments by themselves.",
    ),
    Code.DOMAIN_TAKEN: Row(
        409, "{domain} belongs to another project.", "Remove it there first, or use another domain."
    ),
    Code.DOMAIN_NOT_FOUND: Row(
        404, "The project has no domain {domain}.", "List them with GET /v1/projects/{{project}}/domains."
    ),
    Code.CANCEL_LINK_INVALID: Row(
        404,
        "This cancel link is not valid.",
        "Copy the whole link, or cancel with 'lifecycle project cancel-delete'.",
    ),
    Code.RECEIPT_INVALID: Row(
        422, "The receipt is not valid: {problem}.", "Fetch it again: GET /v1/tombstones/{{project}}."
    ),
    Code.ENGINE_UNAVAILABLE: Row(
        503,
        "The durable engine did not answer in time ({problem}).",
        "Look before you repeat a change: it may still be carried out. 'lifecycle doctor' finds the cause.",
    ),
    Code.DATABASE_UNAVAILABLE: Row(
        503,
        "The database did not answer in time ({problem}).",
        "Repeat in a few seconds; a cancel does not need the database. 'lifecycle doctor' finds the cause.",
    ),
    Code.PLATFORM_UNAVAILABLE: Row(
        503,
        "The region cannot be asked: {problem}.",
        "Repeat in a few seconds; 'lifecycle doctor' says which region does not answer.",
    ),
    Code.INTERNAL: Row(
        500, "Something went wrong here (reference {reference}).", "The log of the API has the details."
    ),
    Code.CERTIFICATE_NAMES_MISSING: Row(
        422, "No name was given for the certificate.", "Give at least one host name, such as www.example.com."
    ),
    Code.CERTIFICATE_NAME_INVALID: Row(
        422,
        "{name} cannot be in a certificate: {problem}.",
        "Give a full host name such as www.example.com, or a wildcard such as *.example.com.",
    ),
    Code.CERTIFICATE_NAME_TOO_LONG: Row(
        422, "{name} is too long for a certificate: {problem}.", "Use a shorter name, or a wildcard above it."
    ),
    Code.CERTIFICATE_NAME_PUBLIC_SUFFIX: Row(
        422,
        "{name} is a public suffix, below which names are registered.",
        "Give the name that you registered below it, such as example.com.",
    ),
    Code.CERTIFICATE_NAME_NOT_PUBLIC: Row(
        422,
        "{name} is not known in the public Internet, so a public CA cannot vouch for it.",
        "Use a public name, or a CA of your own network.",
    ),
    Code.CERTIFICATE_ADDRESS_NOT_OFFERED: Row(
        422,
        "{name} is an IP address, and the CA does not certify these under this profile.",
        "Use a host name, or a profile and CA that offer IP addresses.",
    ),
    Code.CERTIFICATE_TOO_MANY_NAMES: Row(
        422,
        "The certificate would have {count} names; the CA allows {limit} under this profile.",
        "Spread the names over several certificates, or use wildcards.",
    ),
    Code.CERTIFICATE_CHALLENGE_UNFIT: Row(
        422,
        "Control of {name} cannot be proved with {challenge}.",
        "Use dns-01 for wildcards; for IP addresses http-01 or tls-alpn-01.",
    ),
    Code.CERTIFICATE_PROFILE_UNKNOWN: Row(
        422, "The CA has no profile {profile}.", "Choose from: {profiles}. Without a profile the CA chooses."
    ),
}


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


def parameters(text: str) -> set[str]:
    """The names that a message or hint of the catalog expects."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}
