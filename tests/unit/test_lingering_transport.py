"""What the server's transport sends, and when: with the socket replaced by a recorder."""

import asyncio

from chatbot.entrypoints.server.transport import LingeringTransport


class Recorder(asyncio.Transport):
    """Keeps what is written and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_head_and_body_of_an_answer_are_sent_together() -> None:
    recorder = Recorder()
    transport = LingeringTransport(recorder, lambda: False)
    transport.write(b"head")
    transport.write(b"")
    transport.write(b"body")
    assert recorder.writes == []
    await asyncio.sleep(0)
    assert recorder.writes == [b"headbody"]


async def test_later_piece_of_a_stream_does_not_wait_for_the_next() -> None:
    recorder = Recorder()
    transport = LingeringTransport(recorder, lambda: False)
    for piece in (b"one", b"two"):
        transport.write(piece)
        await asyncio.sleep(0)
    assert recorder.writes == [b"one", b"two"]


async def test_much_data_is_handed_on_at_once_so_that_backpressure_is_felt() -> None:
    recorder = Recorder()
    transport = LingeringTransport(recorder, lambda: False)
    for _ in range(3):
        transport.write(bytes(32 * 1024))
    assert recorder.writes == [bytes(64 * 1024)]
    await asyncio.sleep(0)
    assert recorder.writes == [bytes(64 * 1024), bytes(32 * 1024)]


async def test_answer_is_sent_before_the_connection_closes() -> None:
    recorder = Recorder()
    transport = LingeringTransport(recorder, lambda: False)
    transport.write(b"answer")
    transport.close()
    assert recorder.writes == [b"answer"]
    await asyncio.sleep(0)
    assert recorder.writes == [b"answer"]


async def test_nothing_is_written_to_a_connection_that_the_client_has_closed() -> None:
    recorder = Recorder()
    transport = LingeringTransport(recorder, lambda: False)
    transport.write(b"answer")
    recorder.close()
    await asyncio.sleep(0)
    assert recorder.writes == []
