"""Anything that the published OpenAPI allows, and much that it does not, is answered as documented."""

import asyncio
import sys
from pathlib import Path

from lifecycle.dev.stack import Stack
from tests.support.api import Api

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# Not asked for: that everything outside the schema is refused (an empty slug in a path is another path), and that
# whatever the schema allows is accepted (a random project does not exist).
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_no_request_makes_the_api_stumble(api: Api, stack: Stack, tmp_path: Path) -> None:
    """Hundreds of generated requests: never a 5xx, always a documented status, media type and shape."""
    fuzz = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        "run",
        f"{stack.api_url}/openapi.json",
        "--header",
        f"Authorization: Bearer {api.key}",
        "--checks",
        CHECKS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "15",
        "--seed",
        "1",
        "--suppress-health-check",
        "all",
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await fuzz.communicate()

    assert fuzz.returncode == 0, printed.decode()[-8000:]
