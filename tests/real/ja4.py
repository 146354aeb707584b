"""Tells the JA4 fingerprint of what openssl s_client says first: python3 ja4.py [OPTION OF s_client...]

After technical_details/JA4.md of github.com/FoxIO-LLC/ja4.
"""

import hashlib
import socket
import struct
import subprocess
import sys


def hello(options):
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(1)
        command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % door.getsockname()[1], *options]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **quiet) as client:
            connection, _ = door.accept()
            with connection, connection.makefile("rb") as stream:
                header = stream.read(5)
                record = stream.read(struct.unpack(">H", header[3:])[0])
            client.wait()
    return record[4:]


def numbers(data):
    values = struct.unpack(">%dH" % (len(data) // 2), data)
    return [value for value in values if value & 0x0F0F != 0x0A0A or value >> 8 != value & 0xFF]


def told(values):
    return ",".join("%04x" % value for value in values)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def fingerprint(body):
    (version,), rest = struct.unpack(">H", body[:2]), body[34:]
    rest = rest[1 + rest[0]:]
    size = struct.unpack(">H", rest[:2])[0]
    ciphers, rest = numbers(rest[2:2 + size]), rest[2 + size:]
    rest = rest[1 + rest[0] + 2:]
    extensions = {}
    while rest:
        kind, size = struct.unpack(">HH", rest[:4])
        extensions[kind], rest = rest[4:4 + size], rest[4 + size:]
    if 43 in extensions:
        version = max(numbers(extensions[43][1:]))
    alpn = extensions.get(16, b"\0\0\0")
    name = alpn[3:3 + alpn[2]].decode() or "00"
    kinds = [kind for kind in extensions if kind in numbers(struct.pack(">H", kind))]
    algorithms = told(numbers(extensions.get(13, b"\0\0")[2:]))
    listed = told(sorted(kind for kind in kinds if kind not in (0, 16)))
    head = "t%s%s%02d%02d%s%s" % (
        {0x0304: "13", 0x0303: "12"}[version], "d" if 0 in extensions else "i",
        len(ciphers), len(kinds), name[0], name[-1])
    return "_".join([head, digest(told(sorted(ciphers))), digest("_".join(filter(None, [listed, algorithms])))])


print(fingerprint(hello(sys.argv[1:])))
