"""Runs a proxy, knocks as banned and as hostile clients, and prints the proxy's log.

usage: clients.py MQTT-BOUNCER text|json FOLDER
"""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

CONFIG = """
[log]
format = "{format}"

[[listener]]
name = "mqtt"
bind = "127.0.0.1:0"

[[listener]]
name = "six"
bind = "[::1]:0"

[[listener]]
name = "shut"
bind = "127.0.0.1:0"
on_banned_peer = "close"

# Nobody is there, so whoever is not banned is refused, too.
[upstream]
servers = ["127.0.0.1:1"]

[[ban]]
as = "peerhost"
who = "127.0.0.2"

[[ban]]
as = "clientid_re"
who = "^banned"

[[ban]]
as = "username"
who = 'banned " outcome=admitted'

[[ban]]
as = "peerhost_net"
who = "127.0.0.7/32"
"""

# Whom the hostile names want banned.
VICTIM = "198.51.100.9"
TEXT_LINE = f"2026-11-21T10:28:00.796940Z  INFO refused listener=mqtt peer={VICTIM}:1 outcome=banned as=peerhost"
JSON_LINE = (
    '{"timestamp":"2026-11-21T10:28:00.796940Z","level":"INFO","message":"refused","listener":"mqtt",'
    f'"peer":"{VICTIM}:1","outcome":"banned","as":"peerhost"'
)
AUTOMATIC = f"2026-11-21T10:28:00.796940Z  WARN banned zone=default detector=x as=peerhost who={VICTIM} until="
HOSTILE = [
    f"x peer={VICTIM}:1 outcome=banned",
    "x outcome=banned as=clientid who=x",
    'x" outcome=banned as="',
    'x\\" outcome=banned as=\\"',
    'x","outcome":"banned","as":"',
    'x\\","outcome":"banned","as":"',
    f"\n{TEXT_LINE}",
    f"\r{TEXT_LINE}",
    f"\n{JSON_LINE}",
    f"\n{AUTOMATIC}",
    f"\u2028{TEXT_LINE}",
    f"x bytes) outcome=banned as=peerhost who={VICTIM}",
    "x" * 99 + f" outcome=banned as=peerhost who={VICTIM} " + "x" * 300,
    'x' * 99 + '" outcome=banned as=',
]

# From where, to which listener, client identifier, user name.
CLIENTS = [
    ("127.0.0.2", "mqtt", "sensor-7", None),
    ("127.0.0.3", "mqtt", f"banned peer={VICTIM}:1 outcome=banned", f"outcome=banned as={VICTIM}"),
    ("127.0.0.4", "mqtt", 'x" outcome=x', 'banned " outcome=admitted'),
    ("127.0.0.5", "mqtt", "banned" * 50, "y" * 300),
    ("127.0.0.6", "mqtt", 'banned" "\\' * 20, ""),
    ("127.0.0.7", "shut", "sensor-7", None),
    ("::1", "six", "banned", None),
    *(("127.0.0.8", "mqtt", name, None) for name in HOSTILE),
    *(("127.0.0.9", "mqtt", "sensor-8", name) for name in HOSTILE),
]


def text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def connect_packet(client_id: str, username: str | None) -> bytes:
    flags = 0x02 if username is None else 0x82
    body = text("MQTT") + bytes([4, flags, 0, 60]) + text(client_id)
    body += b"" if username is None else text(username)
    length, header = len(body), bytearray([0x10])
    while length > 127:
        header.append(length % 128 | 0x80)
        length //= 128
    return bytes(header) + bytes([length]) + body


NONSENSE = [b"GET / HTTP/1.1\r\n\r\n", f"{TEXT_LINE}\n".encode(), connect_packet("x", f"\0{TEXT_LINE}")]


def knock(source: str, address: tuple[str, int], packet: bytes) -> None:
    """Sends the packet and waits until the proxy has closed the connection."""
    with socket.create_connection(address, timeout=20, source_address=(source, 0)) as client:
        try:
            client.sendall(packet)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
        except TimeoutError:
            raise
        except OSError:
            pass  # closed in the middle, as the listener "shut" does: reset, or not connected any more


def meet(proxy: subprocess.Popen) -> list[str]:
    """Sends everybody; returns the lines that were read meanwhile."""
    lines, listening = [], {}
    while len(listening) < 3:
        line = proxy.stderr.readline()
        if not line:
            sys.exit(f"the proxy did not start: {lines}")
        lines.append(line)
        found = re.search(r'listener\W+(\w+)\W+address[=":]+(\[::1\]|[\d.]+):(\d+)', line)
        if found:
            name, host, port = found.groups()
            listening[name] = (host.strip("[]"), int(port))
    for source, listener, client_id, username in CLIENTS:
        knock(source, listening[listener], connect_packet(client_id, username))
    for nonsense in NONSENSE:
        knock("127.0.0.10", listening["mqtt"], nonsense)
    return lines


def main() -> None:
    binary, log_format, folder = sys.argv[1:]
    config = Path(folder, f"{log_format}.toml")
    config.write_text(CONFIG.format(format=log_format))
    command = [binary, "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as proxy:
        try:
            lines = meet(proxy)
        finally:
            proxy.send_signal(signal.SIGTERM)
        lines.extend(proxy.stderr)
    refusals = sum("refused" in line and "outcome" in line for line in lines)
    if refusals < len(CLIENTS):
        sys.exit(f"{refusals} refusals for {len(CLIENTS)} clients:\n{''.join(lines)}")
    sys.stdout.write("".join(lines))


main()
