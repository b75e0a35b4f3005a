"""The wire of the NATS checks: a flood or a frame without end does not fill the memory of the check."""

from __future__ import annotations

import asyncio

import pytest

from labsupport.exercises.pubsub import stage


async def read(data: bytes) -> stage.Frame:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await stage.read_frame(reader)


class Far:
    """The other end of a lane."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def test_a_frame_is_its_line_and_its_payload():
    frame = asyncio.run(read(b"HPUB orders.a inbox 2 5\r\nhhabc\r\nPING\r\n"))
    assert frame == ("HPUB", "orders.a", "inbox", b"abc", b"HPUB orders.a inbox 2 5\r\nhhabc\r\n")


def test_a_frame_that_announces_more_than_any_server_takes_ends_the_connection():
    with pytest.raises(ConnectionError):
        asyncio.run(read(b"PUB a 99999999999\r\nx"))


def test_a_lane_carries_so_much_and_no_more(monkeypatch):
    monkeypatch.setattr(stage, "MOST_HEARD", 30)
    lane, far = stage.Lane(), Far()

    async def flood() -> None:
        for _ in range(3):
            reader = asyncio.StreamReader()
            reader.feed_data(b"PUB a 1\r\nx\r\n" * 10)
            reader.feed_eof()
            await lane.carry(reader, far)

    asyncio.run(flood())
    assert far.written == b"PUB a 1\r\nx\r\n" * 3 and len(lane.passed) == 3
