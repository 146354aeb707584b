#!/usr/bin/env python3
"""Holds many MQTT 3.1.1 sessions open at once until it is killed, which ends all of them in one moment.

Says "inside" on standard error when the last of them has been let in.
"""

import argparse
import asyncio
import struct
import sys

# A listener's backlog may be as short as this.
CONNECTING_AT_ONCE = 100


def connect(name):
    body = b"\0\x04MQTT\x04\x02\0\0" + struct.pack("!H", len(name)) + name.encode()
    return bytes((0x10, len(body))) + body


async def enter(port, name, door):
    async with door:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(connect(name))
        connack = await reader.readexactly(4)
        if connack != b"\x20\x02\0\0":
            raise SystemExit(f"{name}: refused with {connack!r}")
        return reader, writer


async def hold(port, count):
    door = asyncio.Semaphore(CONNECTING_AT_ONCE)
    held = await asyncio.gather(*(enter(port, f"crowd-{number}", door) for number in range(count)))
    print("inside", file=sys.stderr, flush=True)
    await asyncio.Event().wait()
    del held


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    asyncio.run(hold(asked.port, asked.count))


if __name__ == "__main__":
    main()
