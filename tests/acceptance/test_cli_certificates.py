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
    assert row[5:7] == ["renewal", "in"]
    assert row[9:] == ["pebble", "2"]
    assert f"name          www.{desk.domain}" in shown
    assert "because       the CA names no window, so at two thirds of its life" in shown
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
    said = desk.shell.well("cert", "published", wildcard).splitlines()

    assert begun.startswith("Under way.")
    assert name == f"_acme-challenge.{desk.domain}"
    assert said[0] == f"They are looked for now: {wildcard}."
    assert said[-1].startswith(f"{wildcard} has a certificate of pebble: ")


async def test_an_issuance_is_given_up(desk: Desk) -> None:
    """What waits for me can be given up; afterwards there is nothing to give up."""
    desk.shell.well("cert", "issue", desk.domain, "--challenge", "dns-01", "--by-person", "--no-wait")
    await eventually(partial(_has_records, desk.api, desk.domain), within=20)
    halted = desk.shell.well("cert", "halt", desk.domain)
    assert (await show(desk.api, desk.domain))["status"] == "failed"
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
    assert checked.startswith("Being asked about: 1 of 1. What a CA wants to be renewed is renewed now")


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
    """It waits until the CA has revoked it, and a second one says that it is done."""
    desk.shell.well("cert", "issue", desk.domain)
    done = desk.shell.well("cert", "revoke", desk.domain, "--reason", "superseded", "--yes")
    stands = (await show(desk.api, desk.domain))["status"]
    again = desk.shell.well("cert", "revoke", desk.domain, "--yes")
    shown = desk.shell.well("cert", "show", desk.domain)

    assert done.startswith(f"Revoked: {desk.domain} (serial ")
    assert stands == "revoked"
    assert again.startswith(f"Revoked already: {desk.domain}")
    assert "revoked       " in shown


def test_what_is_revoked_is_not_given_but_renewed(desk: Desk, tmp_path: Path) -> None:
    """Chain, key and export of a revoked certificate say so and what to do; that then brings another one."""
    desk.shell.well("cert", "issue", desk.domain)
    desk.shell.well("cert", "revoke", desk.domain, "--yes")
    chosen = ("--domain", desk.domain)
    refused = [
        desk.shell.run("cert", *command)
        for command in (("chain", desk.domain), ("key", desk.domain), ("export", str(tmp_path / "one"), *chosen))
    ]
    everything = desk.shell.run("cert", "export", str(tmp_path / "all"))
    former = desk.shell.well("cert", "chain", desk.domain, "--version", "1")
    missing = desk.shell.run("cert", "chain", desk.domain, "--version", "7")
    renewed = desk.shell.well("cert", "renew", desk.domain)
    chain = desk.shell.well("cert", "chain", desk.domain)

    for one in refused:
        assert one.returncode == 2
        assert f"The certificate of {desk.domain} was revoked at " in one.stderr
        assert f"'lifecycle cert renew {desk.domain}'" in one.stderr
    assert everything.returncode == 0
    assert f"{desk.domain} is revoked" in everything.stderr
    assert (missing.returncode, f"{desk.domain} has no certificate with the number 7." in missing.stderr) == (2, True)
    assert f"{desk.domain} has a certificate of pebble: " in renewed
    assert former.startswith("-----BEGIN CERTIFICATE-----")
    assert chain != former


async def test_a_disclosed_key_is_replaced_before_the_command_ends(desk: Desk) -> None:
    """With --reason key_compromise I am told that it is revoked, and get the next one in the same command."""
    desk.shell.well("cert", "issue", desk.domain)
    before = await show(desk.api, desk.domain)
    done = desk.shell.well("cert", "revoke", desk.domain, "--reason", "key_compromise", "--yes").splitlines()
    after = await show(desk.api, desk.domain)

    assert done[0].endswith("Another one with another key is ordered.")
    assert done[-1].startswith(f"{desk.domain} has a certificate of pebble: ")
    assert after["status"] == "active"
    assert after["serial"] != before["serial"]


async def test_many_are_ordered_from_a_file(desk: Desk, tmp_path: Path) -> None:
    """A line for each certificate, and for each an answer: what is wrong with one keeps no other from being issued."""
    good, also = f"a.{desk.domain}", f"b.{desk.domain}"
    file = tmp_path / "names"
    file.write_text(f"{good}, www.{good}  # a shop\n\nco.uk\nhttps://{also}/x\n{also}\n")
    done = desk.shell.run("cert", "issue-many", str(file))
    read = desk.shell.run("cert", "issue-many", "-", "--json", input=file.read_text())
    for domain in (good, also):
        await until(desk.api, domain, "active")
    none = desk.shell.run("cert", "issue-many", "-", input="# nothing\n")

    told = [line for line in done.stdout.splitlines() if "line " in line]
    assert done.returncode == read.returncode == 2
    assert [line.split()[0] for line in told] == ["accepted", "refused", "refused", "accepted"]
    assert told[0].endswith(f"line 1: {good}, issuing")
    assert f"{also} was probably meant" in told[2]
    assert done.stdout.splitlines()[-1] == "2 of 4 accepted. See how they go: lifecycle cert list"
    assert [(one["line"], one["outcome"]) for one in json.loads(read.stdout)["items"]] == [
        (1, "accepted"),
        (3, "refused"),
        (4, "refused"),
        (5, "accepted"),
    ]
    assert (await show(desk.api, good))["names"] == [good, f"www.{good}"]
    assert (none.returncode, none.stdout) == (2, "")


def test_a_url_is_not_taken_for_a_host_name(desk: Desk) -> None:
    """Whoever pastes a URL is told which host name was probably meant, whatever the command."""
    for command in (
        ("cert", "issue"),
        ("cert", "show"),
        ("cert", "preflight"),
        ("cert", "renew"),
        ("cert", "chain"),
        ("cert", "revoke", "--yes"),
    ):
        refused = desk.shell.run(*command, f"https://{desk.domain}/x")
        assert refused.returncode == 2
        assert f"only the host name is wanted, without scheme, port and path; {desk.domain} was" in refused.stderr


async def test_a_first_certificate_is_not_called_a_renewal(desk: Desk) -> None:
    """What waits for another attempt is listed as that, with when; and nobody says that it is renewed."""
    await desk.stack.challenges.tell("add-a", host=desk.domain, addresses=["127.0.0.9"])
    desk.shell.run("cert", "issue", desk.domain)
    row = desk.shell.well("cert", "list").splitlines()[1]
    action = desk.shell.well("actions", "list", "--kind", "certificate-renewal")

    assert " next attempt in " in row
    assert "renewal" not in row
    assert "First certificate, tried again: " in action


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
