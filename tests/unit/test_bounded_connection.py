"""What the server's connection writes: the bytes of h11 in as few writes as possible."""

import h11

from chatbot.entrypoints.server.connection import BoundedConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def asked() -> BoundedConnection:
    connection = BoundedConnection()
    connection.receive_data(REQUEST)
    assert isinstance(connection.next_event(), h11.Request)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    return connection


def head(*headers: tuple[str, str]) -> h11.Response:
    return h11.Response(status_code=200, headers=list(headers), reason=b"OK")


def test_head_of_a_response_is_written_with_the_body() -> None:
    connection = asked()
    assert connection.send(head(("Content-Length", "4"))) == b""
    written = connection.send(h11.Data(data=b"body"))
    assert written == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    assert connection.send(h11.EndOfMessage()) == b""


def test_head_of_a_response_without_a_body_is_written_too() -> None:
    connection = asked()
    assert connection.send(head(("Content-Length", "0"))) == b""
    written = connection.send(h11.Data(data=b""))
    assert written == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_each_piece_of_a_stream_is_written_at_once() -> None:
    connection = asked()
    connection.send(head(("Transfer-Encoding", "chunked")))
    first = connection.send(h11.Data(data=b"one"))
    assert first is not None
    assert first.endswith(b"\r\n\r\n3\r\none\r\n")
    assert connection.send(h11.Data(data=b"two")) == b"3\r\ntwo\r\n"
    assert connection.send(h11.EndOfMessage()) == b"0\r\n\r\n"
