"""Fetches pages over HTTP/3 on one QUIC connection.

    h3_fetch.py HOST ROOT_CERTIFICATE PATH…

In: a server name and paths. Out: the number of bytes of each answer, on standard output. Runs under the Python that
`setup` made.
"""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

SECONDS = 20


class Http3Client(QuicConnectionProtocol):
    """Asks for pages and counts the bytes of the answers."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._http = H3Connection(self._quic)
        self._received, self._done = {}, {}

    def quic_event_received(self, event):
        """Called by aioquic for each QUIC event."""
        for answer in self._http.handle_event(event):
            if not isinstance(answer, (DataReceived, HeadersReceived)):
                continue
            if isinstance(answer, DataReceived):
                self._received[answer.stream_id] += len(answer.data)
            if answer.stream_ended and answer.stream_id in self._done:
                self._done.pop(answer.stream_id).set_result(self._received[answer.stream_id])

    async def get(self, host, path):
        """Bytes in the answer to one request."""
        stream = self._quic.get_next_available_stream_id()
        self._received[stream], self._done[stream] = 0, asyncio.get_running_loop().create_future()
        done = self._done[stream]
        self._http.send_headers(
            stream,
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", host.encode()),
                (b":path", path.encode()),
                (b"user-agent", b"h3_fetch"),
            ],
            end_stream=True,
        )
        self.transmit()
        return await done


async def main(host, root, *paths):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
    configuration.load_verify_locations(root)
    async with connect(host, 443, configuration=configuration, create_protocol=Http3Client) as client:
        print(*await asyncio.wait_for(asyncio.gather(*(client.get(host, path) for path in paths)), SECONDS))


asyncio.run(main(*sys.argv[1:]))
