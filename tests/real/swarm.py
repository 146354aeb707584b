#!/usr/bin/env python3
"""Holds many MQTT clients open at once, and has each one publish to itself.

Every second client speaks MQTT 5, the others 3.1.1. Once all are connected and subscribed, each
publishes three messages at QoS 1 and must get exactly these, in order; only when all have, do they
disconnect. One JSON line at the end tells the sums.
"""

import argparse
import asyncio
import json
import resource
import struct
import sys

PATIENCE = 60.0
MESSAGES = 3
# A listener's backlog may be as short as this.
CONNECTING_AT_ONCE = 100

CONNECT, CONNACK, PUBLISH_QOS1, PUBACK = 0x10, 0x20, 0x32, 0x40
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x82, 0x90, 0xC0, 0xD0, 0xE0


class Failed(Exception):
    """A client saw something else than it must."""


def string(text):
    return struct.pack("!H", len(text)) + text.encode()


def packet(kind, *parts):
    body = b"".join(parts)
    # One byte of length: none of ours is longer.
    assert len(body) < 128
    return bytes((kind, len(body))) + body


class Client:
    def __init__(self, number):
        self.name = f"swarm-{number}"
        self.topic = string(f"real/swarm/{number}")
        self.level = 5 if number % 2 else 4
        self.no_properties = b"\0" if self.level == 5 else b""
        self.payloads = [f"{self.name} says {n}".encode() for n in range(MESSAGES)]

    async def read(self):
        kind, length = await self.reader.readexactly(2)
        if length > 127:
            raise Failed(f"{self.name}: packet {kind:#04x} is longer than any that it should get")
        return kind, await self.reader.readexactly(length)

    async def answer(self, wanted):
        kind, body = await self.read()
        if kind != wanted:
            raise Failed(f"{self.name}: found packet {kind:#04x}, wanted {wanted:#04x}")
        return body

    async def enter(self, host, port, door):
        async with door:
            self.reader, self.writer = await asyncio.open_connection(host, port)
            self.writer.write(packet(
                CONNECT, string("MQTT"), bytes((self.level,)), b"\x02\0\0", self.no_properties, string(self.name)))
            connack = await self.answer(CONNACK)
        if connack[1] != 0:
            raise Failed(f"{self.name}: CONNACK code {connack[1]}")
        self.writer.write(packet(SUBSCRIBE, b"\0\1", self.no_properties, self.topic, b"\1"))
        suback = await self.answer(SUBACK)
        if suback[-1] != 1:
            raise Failed(f"{self.name}: SUBACK code {suback[-1]}")

    async def talk(self):
        """Publishes and receives; returns how many messages came and how many were acknowledged."""
        for number, payload in enumerate(self.payloads, 1):
            self.writer.write(packet(
                PUBLISH_QOS1, self.topic, struct.pack("!H", number), self.no_properties, payload))
        received, acknowledged = [], []
        while len(received) < MESSAGES or len(acknowledged) < MESSAGES:
            kind, body = await self.read()
            if kind == PUBACK:
                acknowledged.append(int.from_bytes(body[:2], "big"))
            elif kind == PUBLISH_QOS1 and body.startswith(self.topic):
                after_topic = body[len(self.topic):]
                self.writer.write(packet(PUBACK, after_topic[:2]))
                received.append(after_topic[2 + len(self.no_properties):])
            else:
                raise Failed(f"{self.name}: unexpected packet {kind:#04x} {body.hex()}")
        if received != self.payloads:
            raise Failed(f"{self.name}: received {received}")
        if acknowledged != list(range(1, MESSAGES + 1)):
            raise Failed(f"{self.name}: acknowledged {acknowledged}")
        return len(received), len(acknowledged)

    async def leave(self):
        # Had any message come twice, it would come before the PINGRESP.
        self.writer.write(packet(PINGREQ))
        await self.answer(PINGRESP)
        self.writer.write(packet(DISCONNECT))
        if rest := await self.reader.read():
            raise Failed(f"{self.name}: bytes after DISCONNECT: {rest.hex()}")
        self.writer.close()


async def swarm(host, port, count):
    clients = [Client(number) for number in range(count)]
    door = asyncio.Semaphore(CONNECTING_AT_ONCE)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(client.enter(host, port, door) for client in clients))
        sums = await asyncio.gather(*(client.talk() for client in clients))
        await asyncio.gather(*(client.leave() for client in clients))
    received, acknowledged = map(sum, zip(*sums))
    return {"clients": count, "received": received, "acknowledged": acknowledged}


def allow_open_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=2000)
    given = parser.parse_args()
    allow_open_files(given.clients + 100)
    try:
        print(json.dumps(asyncio.run(swarm(given.host, given.port, given.clients))))
    except TimeoutError:
        sys.exit(f"not done within {PATIENCE:.0f} s")
    except (Failed, OSError, asyncio.IncompleteReadError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
