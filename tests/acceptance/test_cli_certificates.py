"""Certificates on the command line: what it prints, writes, and answers to a shell."""

import json
import stat
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lifecycle.dev.stack import Stack
from lifecycle.models import Role
from tests.support.api import Api
from tests.support.inside import key_of
from tests.support.issuing import show, until
from tests.support.shell import Shell
from tests.support.waiting import eventually


class Desk(NamedTuple):
    """Somebody with a shell and a domain."""

    stack: Stack
    shell: Shell
    api: Api
    domain: str


@pytest.fixture
async def desk(stack: Stack, api: Api, slug: str) -> AsyncIterator[Desk]:
    """A workspace of its own, so that lists and exports show nothing else."""
    token = await key_of(stack, workspace=slug, person="ada@example.com", role=Role.ADMINISTRATOR)
    shell = Shell(stack)
    shell.environment["LIFECYCLE_API_KEY"] = token
    async with api.with_key(token) as own:
        yield Desk(stack, shell, own, f"{slug}.example.com")


def test_issuing_shows_its_stages_and_when_it_expires(desk: Desk) -> None:
    """One command brings a certificate, and says until when it is good and when it is renewed."""
    none = desk.shell.well("cert", "list")
    done = desk.shell.well("cert", "issue", desk.domain, "--name", f"www.{desk.domain}")
    again = desk.shell.well("cert", "issue", desk.domain, "--name", f"www.{desk.domain}")
    row = desk.shell.well("cert", "list").splitlines()[1].split()
    shown = desk.shell.well("cert", "show", desk.domain)

    assert none.startswith("No certificates yet")
    for text in (done, again):
        assert f"{desk.domain} has a certificate of pebble: it expires in 1825 days" in text.splitlines()[-1]
    assert row[:5] == [desk.domain, "active", "in", "1825", "days"]
    assert row[5] == "in"
    assert row[8:] == ["pebble", "2"]
    assert f"name          www.{desk.domain}" in shown
    assert "because of    fallback" in shown
    assert any(line.startswith("*  1        pebble") for line in shown.splitlines())


def test_machines_read_the_answer_of_the_api(desk: Desk) -> None:
    """With --json standard output is the certificate and nothing else, also when it is refused."""
    issued = desk.shell.json("cert", "issue", desk.domain)
    listed = desk.shell.json("cert", "list")
    refused = desk.shell.run("cert", "issue", "co.uk", "--json")
    looked = desk.shell.json("cert", "preflight", desk.domain)

    assert (issued["domain"], issued["status"]) == (desk.domain, "active")
    assert [one["domain"] for one in listed["items"]] == [desk.domain]
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (2, "certificate_name_public_suffix")
    assert looked["verdict"] == "would_issue"


async def test_what_is_in_the_way_is_printed_with_what_to_set(desk: Desk) -> None:
    """A pre-flight, and an issuance that fails, say why on a terminal, with the exit code of a refusal or a fault."""
    await desk.stack.challenges.tell("add-a", host=desk.domain, addresses=["127.0.0.9"])
    looked = desk.shell.run("cert", "preflight", desk.domain)
    failed = desk.shell.run("cert", "issue", desk.domain)
    shown = desk.shell.well("cert", "show", desk.domain)

    assert looked.returncode == 2
    assert "  bad  " in looked.stdout
    assert "Open port " in looked.stdout
    assert failed.returncode == 1
    assert f"error: {desk.domain} got no certificate: " in failed.stderr
    assert "It is tried again in " in failed.stderr
    assert "next attempt  in " in shown


async def test_a_person_sets_the_records_that_are_printed(desk: Desk) -> None:
    """With --by-person I see what to set, say so, and get a wildcard certificate."""
    wildcard = f"*.{desk.domain}"
    begun = desk.shell.well("cert", "issue", wildcard, "--by-person", "--no-wait")
    await eventually(partial(_has_records, desk.api, wildcard), within=20)
    shown = desk.shell.well("cert", "show", wildcard)
    name, _, value = next(line.split() for line in shown.splitlines() if " TXT " in line)
    await desk.stack.challenges.tell("set-txt", host=f"{name}.", value=value)
    said = desk.shell.well("cert", "published", wildcard)
    await until(desk.api, wildcard, "active", within=30)

    assert begun.startswith("Under way.")
    assert name == f"_acme-challenge.{desk.domain}"
    assert said == f"They are looked for now: {wildcard}.\n"


async def test_an_issuance_is_given_up(desk: Desk) -> None:
    """What waits for me can be given up; afterwards there is nothing to give up."""
    desk.shell.well("cert", "issue", desk.domain, "--challenge", "dns-01", "--by-person", "--no-wait")
    await eventually(partial(_has_records, desk.api, desk.domain), within=20)
    halted = desk.shell.well("cert", "halt", desk.domain)
    await until(desk.api, desk.domain, "failed")
    again = desk.shell.run("cert", "halt", desk.domain)

    assert halted == f"Given up: the issuance for {desk.domain}.\n"
    assert again.returncode == 2


def test_renewals_are_actions_on_the_command_line_too(desk: Desk) -> None:
    """A renewal is listed, moved, cancelled, and begun at once; each answer says what that means."""
    desk.shell.well("cert", "issue", desk.domain)
    action = f"certificate-renewal/{desk.domain}"
    listed = desk.shell.well("actions", "list", "--kind", "certificate-renewal")
    moved = desk.shell.well("actions", "move", action, "--grace", "30d")
    cancelled = desk.shell.well("actions", "cancel", action)
    idle = desk.shell.well("cert", "show", desk.domain)
    run = desk.shell.well("actions", "run", action)
    forced = desk.shell.well("cert", "renew", desk.domain, "--force")
    checked = desk.shell.well("cert", "check", desk.domain)

    assert action in listed
    assert moved.startswith(f"Moved: {action} is due in ")
    assert "The certificate stays until it expires, and nobody renews it." in cancelled
    assert "renewal       cancelled " in idle
    assert run.startswith(f"Brought forward: {action} begins now")
    assert "has a certificate of pebble" in forced
    assert checked == "The CAs are being asked about 1 of 1 certificates.\n"


def test_chain_and_key_are_printed_or_written_for_my_eyes_only(desk: Desk, tmp_path: Path) -> None:
    """What I download is PEM that fits together; a file with it is mine alone."""
    desk.shell.well("cert", "issue", desk.domain)
    chain = desk.shell.well("cert", "chain", desk.domain)
    desk.shell.well("cert", "key", desk.domain, "--output", str(tmp_path / "key.pem"))
    nowhere = desk.shell.run("cert", "key", desk.domain, "--output", str(tmp_path / "no" / "key.pem"))

    assert _fits(chain, (tmp_path / "key.pem").read_text())
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert (nowhere.returncode, sorted(path.name for path in tmp_path.iterdir())) == (2, ["key.pem"])


async def test_export_writes_what_has_changed_and_reloads_only_then(desk: Desk, tmp_path: Path) -> None:
    """A timer runs it: files appear, a second run does nothing and takes no key, a renewal is written and reloaded."""
    desk.shell.well("cert", "issue", desk.domain)
    folder, log = tmp_path / "tls", tmp_path / "reloads"
    count = f"{sys.executable} -c \"open('{log}', 'a').write('x')\""
    first = desk.shell.well("cert", "export", str(folder), "--reload", count)
    second = desk.shell.well("cert", "export", str(folder), "--reload", count)
    taken = await _keys_taken(desk.api)
    desk.shell.well("cert", "renew", desk.domain)
    broken = desk.shell.run("cert", "export", str(folder), "--reload", "false")
    third = desk.shell.json("cert", "export", str(folder), "--reload", count)
    own = folder / desk.domain

    assert first == f"Written: {own}\nReloaded.\n"
    assert second == "Nothing has changed.\n"
    assert taken == 1
    assert (broken.returncode, "the next export runs it again" in broken.stderr) == (1, True)
    assert (third["changed"], third["reloaded"], log.read_text()) == ([], True, "xx")
    assert _fits((own / "chain.pem").read_text(), (own / "key.pem").read_text())
    shown = await show(desk.api, desk.domain)
    assert f"{x509.load_pem_x509_certificate((own / 'chain.pem').read_bytes()).serial_number:x}" == shown["serial"]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in own.iterdir()} == {
        "chain.pem": 0o600,
        "key.pem": 0o600,
    }
    assert [path.name for path in folder.iterdir()] == [desk.domain]


async def test_revoking_says_what_happens(desk: Desk) -> None:
    """A revocation is asked for, and a second one says that it is done; an export then has nothing to write."""
    desk.shell.well("cert", "issue", desk.domain)
    asked = desk.shell.well("cert", "revoke", desk.domain, "--reason", "superseded", "--yes")
    await until(desk.api, desk.domain, "revoked")
    again = desk.shell.well("cert", "revoke", desk.domain, "--yes")
    shown = desk.shell.well("cert", "show", desk.domain)

    assert asked.startswith(f"The CA is being asked to revoke {desk.domain} (serial ")
    assert again.startswith(f"Revoked already: {desk.domain}")
    assert "revoked       " in shown


async def _has_records(api: Api, domain: str) -> bool:
    return bool((await show(api, domain))["records"])


async def _keys_taken(api: Api) -> int:
    log = (await api.get("/v1/audit?limit=1000")).body["items"]
    return sum(one["action"] == "certificate.key_downloaded" for one in log)


def _fits(chain: str, key: str) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    certified = x509.load_pem_x509_certificate(chain.encode()).public_key().public_bytes(*form)
    loaded = serialization.load_pem_private_key(key.encode(), None).public_key().public_bytes(*form)
    return bool(certified == loaded)
