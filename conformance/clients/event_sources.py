"""One of three published Python clients of server-sent events: prints the data of every dispatched event as a JSON string.

    python event_sources.py httpx-sse|aiohttp-sse-client|requests-sse URL
"""

import asyncio
import json
import sys
import time


def take(data: str) -> None:
    print(json.dumps(data), flush=True)


def httpx_sse(url: str) -> None:
    """The library leaves reconnecting to its user: this is the loop of its documentation."""
    import httpx
    from httpx_sse import connect_sse

    last_id, wait = "", 1.0
    with httpx.Client(timeout=None) as client:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    for event in source.iter_sse():
                        last_id = event.id
                        wait = wait if event.retry is None else event.retry / 1000
                        take(event.data)
            except httpx.TransportError:
                pass
            time.sleep(wait)


def aiohttp_sse_client(url: str) -> None:
    """The library reconnects after the end of a response, and leaves a response that is cut off to its user."""
    from aiohttp import ClientPayloadError
    from aiohttp_sse_client.client import EventSource

    async def read() -> None:
        async with EventSource(url, max_connect_retry=20) as source:
            while True:
                try:
                    async for event in source:
                        take(event.data)
                except ClientPayloadError:
                    await asyncio.sleep(1)
                    await source.connect(20)

    asyncio.run(read())


def requests_sse(url: str) -> None:
    from requests_sse import EventSource

    with EventSource(url, timeout=None, max_connect_retry=20) as source:
        for event in source:
            take(event.data)


CLIENTS = {"httpx-sse": httpx_sse, "aiohttp-sse-client": aiohttp_sse_client, "requests-sse": requests_sse}
CLIENTS[sys.argv[1]](sys.argv[2])
