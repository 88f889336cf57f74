"""The two small things that each socket has in place of asyncio's large ones do what those do, as far as is asked.

And what has come of a message takes no more than its bytes.
"""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from schema.bounded_socket import BoundedSocket, Received, Room

DEADLINE_S = 5


async def _turn() -> None:
    """Let everybody run who can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_where_there_is_room_nobody_waits() -> None:
    room = Room()

    async with asyncio.timeout(DEADLINE_S):
        await room.wait()

    assert room.is_set()


async def test_without_room_all_wait_until_there_is() -> None:
    room = Room()
    room.clear()
    waiting = [asyncio.create_task(room.wait()) for _ in range(3)]
    await _turn()
    assert not room.is_set()
    assert not any(task.done() for task in waiting)

    room.set()

    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*waiting)


async def test_who_stops_waiting_for_room_keeps_it_from_nobody() -> None:
    room = Room()
    room.clear()
    leaving, staying = asyncio.create_task(room.wait()), asyncio.create_task(room.wait())
    await _turn()
    leaving.cancel()
    await asyncio.wait([leaving])

    room.set()

    async with asyncio.timeout(DEADLINE_S):
        await staying


async def test_room_that_is_gone_again_is_waited_for_again() -> None:
    room = Room()
    for _ in range(2):
        room.clear()
        waiting = asyncio.create_task(room.wait())
        await _turn()
        assert not waiting.done()

        room.set()

        async with asyncio.timeout(DEADLINE_S):
            await waiting


async def test_what_has_come_is_taken_in_its_order() -> None:
    received = Received()
    for number in range(3):
        received.put_nowait(number)
    assert not received.empty()

    async with asyncio.timeout(DEADLINE_S):
        taken = [await received.get() for _ in range(3)]

    assert taken == [0, 1, 2]
    assert received.empty()


async def test_who_takes_waits_until_something_comes() -> None:
    received = Received()
    for number in range(2):
        taking = asyncio.create_task(received.get())
        await _turn()
        assert not taking.done()

        received.put_nowait(number)
        received.put_nowait(number + 10)

        async with asyncio.timeout(DEADLINE_S):
            assert await taking == number
            assert await received.get() == number + 10


@pytest.mark.parametrize("is_there", [False, True])
async def test_who_stops_taking_loses_nothing(is_there: bool) -> None:
    """Whether what he waited for has come by then or not."""
    received = Received()
    taking = asyncio.create_task(received.get())
    await _turn()
    if is_there:
        received.put_nowait("a")
    taking.cancel()
    await asyncio.wait([taking])
    if not is_there:
        received.put_nowait("a")

    async with asyncio.timeout(DEADLINE_S):
        assert await received.get() == "a"


@pytest.mark.parametrize("piece", [b"a", b""])
async def test_a_message_in_small_pieces_is_kept_as_one(piece: bytes) -> None:
    """Else each would take more than its bytes, and those without content were not even counted. Nor is it copied."""
    socket = BoundedSocket(config=uvicorn.Config(Starlette()), server_state=ServerState(), app_state={})
    socket.handle_text(Frame(Opcode.TEXT, b"{", fin=False))
    socket.handle_cont(Frame(Opcode.CONT, piece, fin=False))
    [kept] = socket.frames

    for _ in range(999):
        socket.handle_cont(Frame(Opcode.CONT, piece, fin=False))

    assert socket.frames == [b"{" + 1_000 * piece]
    assert socket.frames[0] is kept
