"""Tells an allowed host that a job is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pixelsleuth.errors import NotAllowed
from pixelsleuth.serving import logs

TRIES = (0.0, 2.0, 10.0)
"""Seconds before each try."""
SECONDS = 10.0
"""For one try."""


def allowed_webhook(address: str, hosts: Iterable[str]) -> None:
    """Raise NotAllowed unless the address is http or https on one of `hosts` (NAME or NAME:PORT), without a user name.

    >>> allowed_webhook("https://hooks.example.org/done", ["hooks.example.org"])
    """
    refused = NotAllowed("This webhook may not be called; allow its host with --webhook-host NAME.")
    try:
        parts = urlsplit(address)
        usual = {"http": 80, "https": 443}[parts.scheme]
        port = parts.port or usual
    except (KeyError, ValueError):
        raise refused from None
    name = (parts.hostname or "").lower()
    names = {host.lower() for host in hosts}
    known = f"{name}:{port}" in names or (name in names and port == usual)
    if not name or not known or "@" in parts.netloc or not address.isascii():
        raise refused


async def call(address: str, state: dict[str, Any]) -> bool:
    """POST the state of a job as JSON; True where the other side took it. Redirects are not followed."""
    import httpx2

    async with httpx2.AsyncClient(timeout=SECONDS, trust_env=False, follow_redirects=False) as client:
        for pause in TRIES:
            await asyncio.sleep(pause)
            try:
                answer = await client.post(address, json=state)
                if answer.is_success:
                    return True
            except httpx2.HTTPError as error:
                logs.event("webhook failed", error=type(error).__name__)
    return False
