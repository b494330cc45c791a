"""The refusals about everything else: requests, projects, deletions, deployments, domains."""

from collections.abc import Mapping

from lifecycle.errors.codes import Code, Row

GENERAL: Mapping[Code, Row] = {
    Code.INVALID_REQUEST: Row(
        422,
        "The request is not valid: {problem}.",
        "Mend what is named; '--help' of the command, or /docs of the API, shows what is accepted.",
    ),
    Code.MALFORMED_JSON: Row(
        400, "The body is not JSON: {problem}.", "Send one JSON object with Content-Type: application/json."
    ),
    Code.BODY_TOO_LARGE: Row(
        413,
        "The body is larger than {limit_bytes} bytes.",
        "Send a smaller body; no request here needs more.",
    ),
    Code.NOT_FOUND: Row(
        404, "There is nothing at {path}.", "See /docs for the paths that exist; a slash inside a name is written %2F."
    ),
    Code.METHOD_NOT_ALLOWED: Row(405, "{path} does not answer {method}.", "See /docs for the methods of this path."),
    Code.KEY_MISSING: Row(
        401, "No API key was sent.", "Send 'Authorization: Bearer <key>'; an administrator makes keys."
    ),
    Code.KEY_INVALID: Row(
        401, "The API key is unknown or revoked.", "Ask an administrator of the workspace for a new key."
    ),
    Code.FORM_OUTDATED: Row(
        403, "This form is not one of your present session.", "Open the page again, and send it from there."
    ),
    Code.KEY_NOT_FOUND: Row(
        404, "There is no API key {key} in this workspace.", "List the keys with 'lifecycle key list'."
    ),
    Code.PLATFORM_WORKSPACE_REQUIRED: Row(
        403,
        "This concerns every workspace, and is for the one that LIFECYCLE_PLATFORM_WORKSPACE names.",
        "Ask an administrator of that workspace.",
    ),
    Code.ROLE_REQUIRED: Row(
        403,
        "This needs the role {required}; the key has {role}.",
        "Ask somebody with that role, or have an administrator make a key with it.",
    ),
    Code.PROJECT_NOT_FOUND: Row(
        404,
        "There is no such project in this workspace.",
        "List projects with 'lifecycle project list'; for a deleted one see 'lifecycle receipt show PROJECT'.",
    ),
    Code.PROJECT_PROTECTED: Row(
        409,
        "Project {project} is protected against deletion.",
        "An administrator can lift the protection: 'lifecycle project protect {project} --off'.",
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
        "Somebody changed it meanwhile: read it again, and repeat with the new generation if you still want it.",
    ),
    Code.DELETION_NOT_SCHEDULED: Row(
        409,
        "Project {project} has no scheduled deletion.",
        "Nothing is pending, so nothing needs to be done.",
    ),
    Code.DELETION_PENDING: Row(
        409,
        "A deletion of project {project} is scheduled, so it cannot be protected now.",
        "Cancel the deletion first, or place a hold: 'lifecycle project hold {project} NAME'.",
    ),
    Code.DELETION_STARTED: Row(
        409,
        "The deletion of project {project} began at {started_at} and cannot be undone.",
        "Watch it with 'lifecycle project show {project}'; the receipt follows as a tombstone.",
    ),
    Code.DELETION_HELD: Row(
        409,
        "The deletion of project {project} is blocked by: {blocked_by}.",
        "Release the holds first: 'lifecycle project release {project} NAME'.",
    ),
    Code.SECOND_ADMINISTRATOR_REQUIRED: Row(
        409,
        "{person} asked for the deletion of project {project}, so somebody else must expedite it.",
        "Ask another administrator to run the same command with a key of their own.",
    ),
    Code.HOLD_NOT_FOUND: Row(
        404, "Project {project} has no hold {name}.", "'lifecycle project show {project}' lists the holds."
    ),
    Code.TOO_MANY_HOLDS: Row(
        409, "Project {project} already has {limit} holds.", "Release one that is no longer needed."
    ),
    Code.ACTION_NOT_FOUND: Row(
        404, "There is no action {action} in this workspace.", "List them with 'lifecycle actions list'."
    ),
    Code.AUDIT_ENTRY_NOT_FOUND: Row(
        404,
        "There is no entry {entry} in this audit log.",
        "Look for it in the list: /v1/audit, or the console's /audit.",
    ),
    Code.TOMBSTONE_NOT_FOUND: Row(
        404,
        "There is no tombstone of {project} in this workspace.",
        "Only a finished deletion leaves one; 'lifecycle project show PROJECT' shows a running one.",
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
        "Wake it first: 'lifecycle deployment wake {deployment}'; a rollback wakes its target by itself.",
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
        "To undo a finished one, roll back: 'lifecycle rollback PROJECT'.",
    ),
    Code.TOO_MANY_ROLLOUTS: Row(
        409,
        "{limit} rollouts of project {project} are waiting already.",
        "Wait for some, or cancel those that nobody needs.",
    ),
    Code.PROJECT_ENDING: Row(
        409,
        "Project {project} is scheduled for deletion or being deleted, so nothing new begins in it.",
        "If the project is to live on, cancel its deletion: 'lifecycle project cancel-delete {project}'.",
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
        404, "The project has no domain {domain}.", "List them with 'lifecycle domain list PROJECT'."
    ),
    Code.TOO_MANY_DOMAINS: Row(
        409,
        "{limit} domains of the project wait for verification already.",
        "Set the DNS records of some, or remove those that nobody needs.",
    ),
    Code.CANCEL_LINK_INVALID: Row(
        404,
        "This cancel link is not valid.",
        "Copy the whole link, or cancel with 'lifecycle project cancel-delete'.",
    ),
    Code.CALENDAR_LINK_INVALID: Row(
        404,
        "This calendar link is not valid.",
        "It was revoked, or its person holds no API key any more. Make one with 'lifecycle calendar create'.",
    ),
    Code.CALENDAR_LINK_NOT_FOUND: Row(
        404,
        "You have no calendar link {link}.",
        "'lifecycle calendar list' shows them; only an administrator may revoke those of others.",
    ),
    Code.TOO_MANY_STREAMS: Row(
        429,
        "This API key follows what happens {limit} times already.",
        "Close what no longer follows, and share one stream among programs; pages that nobody looks at let go by "
        "themselves.",
    ),
    Code.TOO_MANY_CALENDAR_LINKS: Row(
        409,
        "You have {limit} calendar links already.",
        "Revoke one that no program uses any more: 'lifecycle calendar list' shows them.",
    ),
    Code.RECEIPT_INVALID: Row(
        422, "The receipt is not valid: {problem}.", "Fetch it again: 'lifecycle receipt show PROJECT'."
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
}
