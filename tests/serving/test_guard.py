"""Keys, host names and origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from fastapi.responses import Response

from pixelsleuth.cli.main import main
from pixelsleuth.errors import UsageError
from pixelsleuth.serving.guard import Guard
from pixelsleuth.serving.settings import ServeOptions

KEY = "0123456789abcdef"


async def inside(scope: Any, receive: Any, send: Any) -> None:
    await Response("inside")(scope, receive, send)


def ask(options: ServeOptions, path: str = "/v1/check", method: str = "POST", **headers: str) -> Any:
    import asyncio

    async def once() -> Any:
        transport = httpx2.ASGITransport(app=Guard(inside, options))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )

    return asyncio.run(once())


@pytest.fixture
def keyed(tmp_path: Path) -> ServeOptions:
    (tmp_path / "keys").write_text(f"# the newsroom\n{KEY}\n")
    return ServeOptions(api_key_file=str(tmp_path / "keys"))


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"X_API_Key": KEY}, 200),
    ],
)
def test_a_key_is_needed_where_keys_are_set(
    keyed: ServeOptions, headers: dict[str, str], status: int
) -> None:
    answer = ask(keyed, **headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "not_allowed"
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path, status", [("/metrics", 401), ("/healthz", 200), ("/readyz", 200), ("/", 200)])
def test_health_and_page_need_no_key(keyed: ServeOptions, path: str, status: int) -> None:
    assert ask(keyed, path, "GET").status_code == status


@pytest.mark.parametrize("content", ["", "# nothing\n", "short\n", None])
def test_a_file_without_good_keys_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(UsageError, match="keys"):
        Guard(inside, ServeOptions(api_key_file=str(tmp_path / "keys")))


def test_a_service_without_good_keys_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short\n")
    for name, sentence in (("short", "of at least 16 letters"), ("none", "name one with --api-key-file")):
        result = CliRunner().invoke(main, ["serve", "--port", "0", "--api-key-file", str(tmp_path / name)])
        assert result.exit_code == 2
        assert sentence in result.stderr


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example:8000", 403),
        ("", 403),
        ("127.0.0.1.evil", 403),
    ],
)
def test_names_that_somebody_else_points_at_this_machine_are_refused(host: str, status: int) -> None:
    assert ask(ServeOptions(), Host=host).status_code == status


def test_another_host_or_a_named_one_is_served() -> None:
    assert ask(ServeOptions(host="0.0.0.0"), Host="any.example").status_code == 200
    assert ask(ServeOptions(allow_hosts=("Desk.example",)), Host="desk.example").status_code == 200
    assert (
        ask(ServeOptions(host="0.0.0.0", allow_hosts=("desk.example",)), Host="any.example").status_code
        == 403
    )


@pytest.mark.parametrize(
    "origin, status", [("http://127.0.0.1:8000", 200), ("https://evil.example", 403), ("null", 403)]
)
def test_pages_of_other_sites_cannot_post(origin: str, status: int) -> None:
    assert ask(ServeOptions(), Origin=origin).status_code == status
    assert ask(ServeOptions(cors_origins=(origin,)), Origin=origin).status_code == 200
