#!/usr/bin/env python3
"""Tells how paho-mqtt, mosquitto_pub, mosquitto_sub and bare bytes see a banned client refused.

The proxy must already hold a ban on the client ID and one on the username given. Each attempt is one
JSON line. A refusal is a CONNACK with code 5 (MQTT 3.1, 3.1.1) or 0x8A (MQTT 5) and then a close; a
connection that ends without one fails the run. A client that is not banned must still get in.
"""

import argparse
import json
import signal
import socket
import struct
import subprocess
import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 20.0
# For everything: with a server that answers nothing, each attempt takes its whole patience.
LIMIT = 120
VERSIONS = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5": paho.MQTTv5}
MOSQUITTO_VERSIONS = {"3.1": "31", "3.1.1": "311", "5": "5"}
REFUSAL = {"3.1": 5, "3.1.1": 5, "5": 0x8A}
PAHO_SAYS = {"3.1": "Not authorized", "3.1.1": "Not authorized", "5": "Banned"}
MOSQUITTO_SAYS = {
    "3.1": "Connection error: Connection Refused: not authorised.",
    "3.1.1": "Connection error: Connection Refused: not authorised.",
    "5": "Connection error: Banned",
}
# Longer than what a proxy is likely to have read together with the CONNECT.
PIPELINED = 200_000


def by_paho(host, port, version, client_id, username):
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id, protocol=VERSIONS[version], reconnect_on_failure=False)
    if username:
        client.username_pw_set(username, "any")
    seen = {}
    ended = threading.Event()

    def on_connect(client, _userdata, flags, reason, _properties):
        # Paho shows the codes of 3.1 and 3.1.1 as those of version 5: 5 becomes 0x87, "Not authorized".
        seen.update(code=reason.value, name=str(reason), session_present=flags.session_present)
        if not reason.is_failure:
            client.disconnect()

    client.on_connect = on_connect
    client.on_disconnect = lambda *_: ended.set()
    client.connect(host, port)
    client.loop_start()
    finished = ended.wait(PATIENCE)
    client.loop_stop()
    return seen, finished and seen.get("name") == PAHO_SAYS[version] and not seen["session_present"]


def mosquitto(tool, host, port, version, client_id, username):
    command = [tool, "-h", host, "-p", str(port), "-V", MOSQUITTO_VERSIONS[version]]
    command += ["-i", client_id, "-t", "real/banned"]
    command += ["-m", "x"] if tool == "mosquitto_pub" else ["-W", str(int(PATIENCE) // 2)]
    if username:
        command += ["-u", username, "-P", "any"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    said = done.stderr.splitlines()
    refused = done.returncode == REFUSAL[version] and MOSQUITTO_SAYS[version] in said
    return {"exit": done.returncode, "stderr": said}, refused


def by_mosquitto_pub(*attempt):
    return mosquitto("mosquitto_pub", *attempt)


def by_mosquitto_sub(*attempt):
    return mosquitto("mosquitto_sub", *attempt)


def connect_bytes(version, client_id, username):
    def string(text):
        return struct.pack("!H", len(text.encode())) + text.encode()

    none = b"\0" if version == "5" else b""
    flags = 0x82 if username else 0x02
    body = b"".join((
        string("MQIsdp" if version == "3.1" else "MQTT"), bytes((VERSIONS[version], flags, 0, 60)), none,
        string(client_id), string(username) if username else b""))
    # The names given are short enough for one byte of length.
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


def converse(host, port, sent):
    """What the server answers, and how it ends the connection."""
    answer, closed = b"", "eof"
    with socket.create_connection((host, port), PATIENCE) as line:
        try:
            line.sendall(sent)
        except (ConnectionResetError, BrokenPipeError):
            closed = "reset while sending"
        try:
            while some := line.recv(4096):
                answer += some
        except ConnectionResetError:
            closed = "reset"
    return answer, closed


def is_refusal(answer, version):
    if version != "5":
        return answer == b"\x20\x02\0\x05"
    # There may be properties behind the code.
    return answer[:1] == b"\x20" and answer[2:4] == b"\0\x8a" and len(answer) == 2 + answer[1]


def by_bytes(host, port, version, client_id, username):
    answer, closed = converse(host, port, connect_bytes(version, client_id, username))
    return {"answer": answer.hex(" "), "closed": closed}, is_refusal(answer, version) and closed == "eof"


def by_pipelined_bytes(host, port, version, client_id, username):
    """A client need not await the CONNACK; what it has sent on must not cost it the refusal."""
    length = bytes((PIPELINED & 127 | 128, PIPELINED >> 7 & 127 | 128, PIPELINED >> 14))
    publish = b"\x30" + length + b"\0\1t".ljust(PIPELINED, b"\0")
    answer, closed = converse(host, port, connect_bytes(version, client_id, username) + publish)
    # How it closes is the server's affair, provided that the answer came.
    return {"answer": answer.hex(" "), "closed": closed}, is_refusal(answer, version)


def tell(client, version, ban, observed, refused):
    line = {"client": client, "version": version, "ban": ban, "observed": observed, "refused": refused}
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--banned-id", required=True)
    parser.add_argument("--banned-user", required=True)
    given = parser.parse_args()
    bans = {"client_id": (given.banned_id, None), "username": ("real-banned-user", given.banned_user)}
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done within {LIMIT} s"))
    signal.alarm(LIMIT)
    failures = 0
    attempts = {
        "paho": by_paho,
        "mosquitto_pub": by_mosquitto_pub,
        "mosquitto_sub": by_mosquitto_sub,
        "bytes": by_bytes,
        "pipelined bytes": by_pipelined_bytes,
    }
    for client, attempt in attempts.items():
        for version in VERSIONS:
            for ban, who in bans.items():
                try:
                    observed, refused = attempt(given.host, given.port, version, *who)
                except (OSError, subprocess.TimeoutExpired) as error:
                    observed, refused = {"error": str(error)}, False
                tell(client, version, ban, observed, refused)
                failures += not refused
    for version in VERSIONS:
        observed, _ = by_paho(given.host, given.port, version, "real-welcome", "welcome")
        welcomed = observed.get("name") == "Success"
        tell("paho", version, None, observed, not welcomed)
        failures += not welcomed
    if failures:
        sys.exit(f"{failures} attempt(s) did not end as they must")


if __name__ == "__main__":
    main()
