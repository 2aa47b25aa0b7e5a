"""The proxy that faults of the network are made with: it breaks what it says, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def proxied_echo() -> AsyncIterator[tuple[TcpProxy, list[bytes]]]:
    """A proxy before a server that echoes lines, and what the server heard."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                heard.append(line)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, heard


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(proxy: TcpProxy) -> Link:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def say(link: Link, line: bytes, seconds: float = 5.0) -> bytes:
    link[1].write(line)
    return await asyncio.wait_for(link[0].readline(), seconds)


async def test_it_passes_everything_on() -> None:
    async with proxied_echo() as (proxy, _):
        link = await connect(proxy)
        large = b"x" * 60_000 + b"\n"
        assert await say(link, large) == large
        assert proxy.connections == proxy.open_connections == 1
        link[1].close()


async def test_a_cut_is_a_reset_and_new_connections_are_taken() -> None:
    async with proxied_echo() as (proxy, _):
        link = await connect(proxy)
        assert await say(link, b"one\n") == b"one\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(link[0].read(), PATIENCE_SECONDS)
        link = await connect(proxy)
        assert await say(link, b"two\n") == b"two\n"
        link[1].close()


async def test_what_is_stalled_arrives_late_and_whole() -> None:
    async with proxied_echo() as (proxy, heard):
        link = await connect(proxy)
        assert await say(link, b"one\n") == b"one\n"
        proxy.stall()
        with pytest.raises(TimeoutError):
            await say(link, b"two\n", 0.1)
        assert heard == [b"one\n"]
        await proxy.heal()
        assert await say(link, b"three\n") == b"two\n"
        assert await link[0].readline() == b"three\n"
        link[1].close()


async def test_stalled_answers_belong_to_what_was_done() -> None:
    async with proxied_echo() as (proxy, heard):
        link = await connect(proxy)
        proxy.stall(answers_only=True)
        with pytest.raises(TimeoutError):
            await say(link, b"one\n", 0.1)
        assert heard == [b"one\n"]
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(link[0].read(), PATIENCE_SECONDS)


async def test_slowness_is_added_in_both_directions() -> None:
    async with proxied_echo() as (proxy, _):
        link = await connect(proxy)
        proxy.slow(0.1)
        begin = time.monotonic()
        assert await say(link, b"one\n") == b"one\n"
        assert time.monotonic() - begin >= 0.2
        link[1].close()


async def test_who_vanished_refuses_until_healed_at_the_same_port() -> None:
    async with proxied_echo() as (proxy, _):
        port = proxy.port
        link = await connect(proxy)
        await proxy.vanish()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(link[0].read(), PATIENCE_SECONDS)
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        await proxy.heal()
        assert proxy.port == port
        link = await connect(proxy)
        assert await say(link, b"again\n") == b"again\n"
        link[1].close()


async def test_a_target_that_is_not_there_ends_the_connection() -> None:
    async with TcpProxy("127.0.0.1", 1) as proxy:
        link = await connect(proxy)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(link[0].readexactly(1), PATIENCE_SECONDS)
