"""Every setting can be set from the environment, within its bounds; secrets stay secret."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from lifecycle.settings import Settings
from scripts import generate_docs


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment to set variables in."""
    return monkeypatch


def test_the_defaults_are_those_that_were_promised() -> None:
    """Without any setting: three days of grace, at least one, at most thirty."""
    settings = Settings()

    assert settings.deletion_grace == timedelta(hours=72)
    assert settings.deletion_min_grace == timedelta(hours=24)
    assert settings.deletion_max_grace == timedelta(days=30)
    assert settings.restate_identity_keys == ()
    assert settings.key_ring() is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("deletion_grace", "2d12h", timedelta(hours=60)),
        ("deletion_grace", "P5D", timedelta(days=5)),
        ("reconciler_interval", "500ms", timedelta(milliseconds=500)),
        ("database_pool_size", "25", 25),
        ("worker_register", "false", False),
        ("api_url", "https://lifecycle.example", "https://lifecycle.example"),
        ("key_encryption_key_file", "/run/ring", Path("/run/ring")),
        ("restate_identity_keys", "publickeyv1_a, publickeyv1_b,", ("publickeyv1_a", "publickeyv1_b")),
        ("restate_identity_keys", "", ()),
        ("certificates_file", "", None),
        ("gateway_folder", "", None),
    ],
)
def test_a_setting_is_read_from_the_environment(
    environment: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    """Each variable is the name of the setting in capitals after LIFECYCLE_."""
    environment.setenv(f"LIFECYCLE_{name.upper()}", text)

    assert getattr(Settings(), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("database_pool_size", "0"),
        ("database_pool_size", "201"),
        ("worker_port", "65536"),
        ("api_port", "-1"),
        ("request_timeout", "99ms"),
        ("request_timeout", "61s"),
        ("reconciler_interval", "0s"),
        ("key_cache_ttl", "11m"),
        ("deletion_overdue_after", "0s"),
        ("deletion_grace", "72"),
        ("deletion_grace", "three days"),
        ("deletion_grace", "23h"),
        ("deletion_grace", "31d"),
        ("deletion_min_grace", "73h"),
        ("deletion_max_grace", "71h"),
        ("deletion_max_grace", "1000000000d"),
        ("worker_register", "perhaps"),
    ],
)
def test_a_value_outside_its_bounds_is_refused(environment: pytest.MonkeyPatch, name: str, text: str) -> None:
    """A mistake is found at the start, not in the night in which it matters."""
    environment.setenv(f"LIFECYCLE_{name.upper()}", text)

    with pytest.raises(ValidationError):
        Settings()


def test_a_variable_of_somebody_else_is_ignored(environment: pytest.MonkeyPatch) -> None:
    """Only names that begin with LIFECYCLE_ count, and unknown ones among them do no harm."""
    environment.setenv("DELETION_GRACE", "1s")
    environment.setenv("LIFECYCLE_FUTURE_SETTING", "x")

    assert Settings() == Settings.model_construct(**Settings().model_dump())


SECRETS = {
    "database_url": "mysql://lifecycle:hunter2@db/lifecycle",
    "api_key": "lck_hunter2",
    "key_encryption_keys": "one:hunter2",
    "smtp_url": "smtps://lifecycle:hunter2@mail",
}


def test_secrets_are_not_shown() -> None:
    """A start-up line or a traceback that prints the settings gives nothing away."""
    settings = Settings.model_validate(SECRETS)

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert "hunter2" not in settings.model_dump_json()
    assert settings.database_url.get_secret_value().count("hunter2") == 1


def test_a_refused_setting_does_not_show_the_secrets() -> None:
    """The message about one wrong value does not print the others."""
    with pytest.raises(ValidationError) as refusal:
        Settings.model_validate({"api_key": SECRETS["api_key"], "deletion_grace": "31d"})

    assert "hunter2" not in str(refusal.value)


def test_every_setting_that_holds_a_secret_is_marked() -> None:
    """What is called a key or holds a password is kept out of every print."""
    marked = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}

    assert marked == set(SECRETS)
    assert isinstance(Settings().database_url, SecretStr)


def test_the_key_ring_comes_from_the_file_before_the_variable(tmp_path: Path) -> None:
    """Where both are set, the file counts: it is what an operator mounts."""
    ring = tmp_path / "ring"
    ring.write_text("one:x\n", encoding="utf-8")

    assert Settings(key_encryption_keys=SecretStr("two:y")).key_ring() == "two:y"
    assert Settings(key_encryption_keys=SecretStr("two:y"), key_encryption_key_file=ring).key_ring() == "one:x\n"


def test_settings_do_not_change() -> None:
    """What was read at the start holds until the end."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().api_port = 1  # type: ignore[misc]


def test_every_setting_is_described_and_the_page_is_current() -> None:
    """docs/settings.md lists every variable with what it sets; `make docs` writes it anew."""
    page = (generate_docs.DOCS / "settings.md").read_text(encoding="utf-8")

    assert page == generate_docs.settings()
    assert all(field.description for field in Settings.model_fields.values())
    assert all(f"`LIFECYCLE_{name.upper()}`" in page for name in Settings.model_fields)
