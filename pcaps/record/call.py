"""One side of a WebRTC call: audio, a small moving picture, now and then a chat message.

    call.py offer|answer FOLDER SECONDS SEED

In: a folder through which the two sides exchange their session descriptions. Out: the call's packets. Runs under the
Python that `setup` made.
"""

import asyncio
import pathlib
import random
import sys

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

WIDTH, HEIGHT = 96, 64
GREY_BYTES = WIDTH * HEIGHT


class MovingBar(VideoStreamTrack):
    """A bar that walks across the picture."""

    async def recv(self):
        """The next frame."""
        time, base = await self.next_timestamp()
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        row = bytearray(b"\x50" * WIDTH)
        at = (time // 6000) % (WIDTH - 8)
        row[at : at + 8] = b"\xd0" * 8
        for index, plane in enumerate(frame.planes):
            line = bytes(row) if index == 0 else b"\x80" * (WIDTH // 2)
            padded = line + b"\0" * (plane.line_size - len(line))
            plane.update(padded * plane.height)
        frame.pts, frame.time_base = time, base
        return frame


async def text_of(path):
    """Waits for the other side's file."""
    while not path.exists():
        await asyncio.sleep(0.1)
    return path.read_text()


def publish(path, text):
    """Writes a file so that it appears whole."""
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    temporary.rename(path)


async def main(role, folder, seconds, seed):
    folder, rng = pathlib.Path(folder), random.Random(f"{seed}/{role}")
    peer, sink = RTCPeerConnection(RTCConfiguration(iceServers=[])), MediaBlackhole()
    peer.addTrack(AudioStreamTrack())
    peer.addTrack(MovingBar())

    @peer.on("track")
    async def on_track(track):
        sink.addTrack(track)
        await sink.start()

    if role == "offer":
        chat = peer.createDataChannel("chat")
        await peer.setLocalDescription(await peer.createOffer())
        publish(folder / "offer.sdp", peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(await text_of(folder / "answer.sdp"), "answer"))
    else:
        await peer.setRemoteDescription(RTCSessionDescription(await text_of(folder / "offer.sdp"), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        publish(folder / "answer.sdp", peer.localDescription.sdp)
    until = asyncio.get_running_loop().time() + float(seconds)
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(rng.uniform(1, 4))
        if role == "offer" and chat.readyState == "open":
            chat.send("yes " * rng.randrange(1, 12))
    print(peer.connectionState, flush=True)
    await peer.close()


asyncio.run(main(*sys.argv[1:]))
