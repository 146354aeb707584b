#!/usr/bin/env python3
"""Tells all that a paho-mqtt client can see of a broker, as one JSON object per line.

Run it against a broker, run it against a proxy before that broker, and compare: equal output means
that the client could not tell which was which. So nothing is printed that two runs may differ in.

One thread drives every client: each step ends when its event has been seen, hence the order of
what is recorded is the order of the wire and not the scheduler's. Nothing waits for time to pass,
except where the protocol itself does (keep alive, will delay).
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import select
import signal
import socket
import ssl
import struct
import sys
import time

import paho.mqtt.client as paho
from paho.mqtt.client import _WebsocketWrapper as WebSocket
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 20.0
# For everything: with a server that answers nothing, each scenario takes its whole patience.
LIMIT = 120
VERSIONS = {"3.1": paho.MQTTv31, "3.1.1": paho.MQTTv311, "5": paho.MQTTv5}
MODERN = ("3.1.1", "5")
SCENARIOS = []


class Failed(Exception):
    """A scenario saw something else than it must."""


def scenario(*versions):
    """Registers a function for each version; what it returns is printed as `observed`."""

    def register(play):
        SCENARIOS.append((play.__name__, versions, play))
        return play

    return register


def expect(found, wanted, what):
    if found != wanted:
        raise Failed(f"{what}: found {found!r}, wanted {wanted!r}")


def props(packet, **values):
    properties = Properties(packet)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def publish_props(**values):
    return props(PacketTypes.PUBLISH, **values)


def sha256(payload):
    return hashlib.sha256(payload).hexdigest()


def noise(size):
    return random.Random(size).randbytes(size)


def message_seen(message, version):
    payload = bytes(message.payload)
    seen = {
        "topic": message.topic,
        "qos": message.qos,
        "retain": bool(message.retain),
        "dup": bool(message.dup),
        "payload": payload.decode(errors="backslashreplace") if len(payload) <= 64 else sha256(payload),
    }
    if version == "5":
        seen["properties"] = message.properties.json()
    return seen


def connack_seen(flags, reason, properties):
    shown = properties.json()
    if assigned := shown.get("AssignedClientIdentifier"):
        shown["AssignedClientIdentifier"] = re.sub(r"\w", "x", assigned)
    return {
        "session_present": flags.session_present,
        "code": reason.value,
        "name": str(reason),
        "properties": shown,
    }


def await_close(sock):
    """How the other side ends this connection: `eof` or `reset`."""
    sock.settimeout(PATIENCE)
    try:
        while sock.recv(65536):
            pass
        return "eof"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        raise Failed("the server did not close the connection") from None


def bare(sock):
    """The socket itself, of one that speaks WebSocket."""
    return getattr(sock, "_socket", sock)


def read_ahead(sock):
    """How many bytes TLS has read and not been asked for yet."""
    line = bare(sock)
    return line.pending() if isinstance(line, ssl.SSLSocket) else 0


class Way:
    """How clients reach the server: over TCP, TLS, or WebSockets in either of the two."""

    def __init__(self, given):
        self.is_websocket = given.transport in ("ws", "wss")
        self.is_tls = given.transport in ("tls", "wss")
        self.given = given

    def prepare(self, client):
        if self.is_websocket:
            client.ws_set_options(path=self.given.path)
        if self.is_tls:
            client.tls_set(self.given.ca, self.given.cert, self.given.key)

    @contextlib.contextmanager
    def line(self, host, port):
        """A line that carries bytes as they are written, each write in a frame where it speaks WebSocket."""
        with socket.create_connection((host, port), PATIENCE) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.is_tls:
                context = ssl.create_default_context(cafile=self.given.ca)
                context.load_cert_chain(self.given.cert, self.given.key)
                line = context.wrap_socket(line, server_hostname=host)
            if self.is_websocket:
                line = WebSocket(line, host, port, self.is_tls, self.given.path, None)
            with contextlib.closing(line):
                yield line


class Peer:
    """One connected paho client, and all that it has seen."""

    def __init__(self, stage, name, *, client_id=None, clean=True, connect=None, will=None, login=None,
                 keepalive=60, manual_ack=False):
        self.stage = stage
        self.id = stage.client_id(name) if client_id is None else client_id
        self.connack = None
        self.ended = None
        self.messages = []
        self.trace = []
        self.acks = {}
        self.client = self.build(clean, will, login, manual_ack)
        self.start(clean, connect, keepalive)

    def build(self, clean, will, login, manual_ack):
        version = self.stage.version
        v5 = version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self.id, None if v5 else clean,
            protocol=VERSIONS[version], reconnect_on_failure=False, manual_ack=manual_ack,
            transport="websockets" if self.stage.way.is_websocket else "tcp")
        self.stage.way.prepare(client)
        client.on_connect = self.on_connect
        client.on_disconnect = self.on_disconnect
        client.on_message = lambda _c, _u, message: self.messages.append(message_seen(message, version))
        client.on_subscribe = self.on_ack
        client.on_unsubscribe = self.on_ack
        client.on_publish = lambda c, u, mid, reason, properties: self.on_ack(c, u, mid, [reason], properties)
        client.on_log = self.on_log
        if will:
            client.will_set(**will)
        if login:
            client.username_pw_set(*login)
        return client

    def start(self, clean, connect, keepalive):
        if self.stage.version == "5":
            how = {"clean_start": clean, "properties": connect and props(PacketTypes.CONNECT, **connect)}
        else:
            how = {}
        self.client.connect(self.stage.host, self.stage.port, keepalive, **how)
        self.stage.peers.append(self)
        self.stage.until(lambda: self.connack or self.ended, f"CONNACK for {self.id!r}")

    def on_connect(self, _client, _userdata, flags, reason, properties):
        self.connack = connack_seen(flags, reason, properties)

    def on_disconnect(self, _client, _userdata, flags, reason, properties):
        self.ended = {
            "by_server_packet": flags.is_disconnect_packet_from_server,
            "code": reason.value,
            "name": str(reason),
            "properties": properties.json(),
        }

    def on_ack(self, _client, _userdata, mid, reasons, _properties):
        self.acks[mid] = [reason.value for reason in reasons]

    def on_log(self, _client, _userdata, level, line):
        if level == paho.MQTT_LOG_ERR:
            self.trace.append(line)
        elif packet := re.match(r"(Sending|Received) [A-Z]+( \([^)]*\))?", line):
            self.trace.append(packet[0])

    def acknowledged(self, result):
        mid = result.mid if isinstance(result, paho.MQTTMessageInfo) else result[1]
        self.stage.until(lambda: mid in self.acks or self.ended, f"ack of packet {mid} to {self.id!r}")
        expect(self.ended, None, f"connection of {self.id!r}")
        return self.acks.pop(mid)

    def subscribe(self, *args, **kwargs):
        return self.acknowledged(self.client.subscribe(*args, **kwargs))

    def unsubscribe(self, *args, **kwargs):
        return self.acknowledged(self.client.unsubscribe(*args, **kwargs))

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        if retain:
            self.stage.retained.add(topic)
        sent = publish_props(**properties) if properties else None
        return self.acknowledged(self.client.publish(topic, payload, qos, retain, sent))

    def take(self, count):
        """The next `count` messages, once they have come."""
        self.stage.until(lambda: len(self.messages) >= count, f"message {count} to {self.id!r}")
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    def take_one(self):
        return self.take(1)[0]

    def fence(self):
        """A round trip: what the broker had queued for this client has come when it returns."""
        self.subscribe(self.stage.topic("fence"))

    def take_all(self):
        self.fence()
        taken, self.messages = self.messages, []
        return taken

    def leave(self, **how):
        """DISCONNECT; returns how the server closed, which it does after it has acted on the DISCONNECT."""
        # A duplicate keeps the connection open when paho closes its own at once.
        line = socket.socket(fileno=os.dup(self.client.socket().fileno()))
        self.client.disconnect(**how)
        self.stage.until(lambda: self.ended, f"DISCONNECT of {self.id!r} to be written")
        self.stage.peers.remove(self)
        with line:
            return await_close(line)

    def vanish(self):
        """Ends the stream with no DISCONNECT; returns how the server closed, which proves that it noticed."""
        self.stage.peers.remove(self)
        line = bare(self.client.socket())
        line.shutdown(socket.SHUT_WR)
        with line:
            return await_close(line)

    def reset(self):
        """Ends the connection with a TCP RST."""
        self.stage.peers.remove(self)
        line = bare(self.client.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()

    def await_end(self):
        self.stage.until(lambda: self.ended, f"end of the connection of {self.id!r}")
        self.stage.peers.remove(self)
        return self.ended


class Stage:
    """The clients of one scenario, its own names, and what it must clean up."""

    def __init__(self, given, name, version):
        self.host, self.port, self.name, self.version = given.host, given.port, name, version
        self.way = Way(given)
        self.peers = []
        self.retained = set()
        self.persistent = set()

    @property
    def v5(self):
        return self.version == "5"

    def topic(self, *levels):
        return "/".join(("real", self.name, self.version, *levels))

    def client_id(self, name):
        return f"{self.name}-{self.version}-{name}"

    def peer(self, name, **how):
        """A client that the broker has let in."""
        peer = Peer(self, name, **how)
        if peer.connack is None:
            raise Failed(f"{peer.id!r} was let go before its CONNACK: {peer.ended}")
        expect(peer.connack["name"], "Success", f"CONNACK of {peer.id!r}")
        return peer

    def subscriber(self, filter_, qos=1, **how):
        peer = self.peer("subscriber", **how)
        expect(peer.subscribe(filter_, qos), [qos], f"SUBACK for {filter_!r}")
        return peer

    def resident(self, name, **how):
        """A client whose session outlives its connection."""
        self.persistent.add(name)
        if self.v5:
            how["connect"] = {"SessionExpiryInterval": 300} | how.get("connect", {})
        return self.peer(name, clean=False, **how)

    def until(self, done, what):
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise Failed(f"waited {PATIENCE:.0f} s for {what}")
            self.turn()

    def turn(self):
        open_ = {peer.client.socket(): peer.client for peer in self.peers if peer.client.socket()}
        full = [sock for sock, client in open_.items() if client.want_write()]
        # What TLS has read ahead, the system does not show.
        ahead = [sock for sock in open_ if read_ahead(sock)]
        readable, writable, _ = select.select(list(open_), full, [], 0 if ahead else 0.1)
        readable += ahead
        for sock, client in open_.items():
            if sock in readable:
                client.loop_read()
            if sock in writable and client.socket() is sock:
                client.loop_write()
            client.loop_misc()

    def drop_all(self):
        for peer in list(self.peers):
            if peer.client.socket():
                peer.reset()
        self.peers.clear()

    def clean_up(self):
        for peer in list(self.peers):
            if peer.client.socket():
                peer.leave()
        for name in self.persistent:
            self.peer(name).leave()
        if self.retained:
            sweeper = self.peer("sweeper")
            for topic in self.retained:
                sweeper.publish(topic, b"", retain=True)
            sweeper.leave()


# --- connecting ---


def all_of(line):
    """What comes on a line up to its end."""
    while True:
        try:
            some = line.recv(65536)
        except BlockingIOError:
            # A frame without data: what says that the other side closes.
            continue
        if not some:
            return
        yield some


def live(stage, pieces):
    """Writes these as they are; returns all that is answered up to the end."""
    with stage.way.line(stage.host, stage.port) as line:
        for piece in pieces:
            expect(line.send(piece), len(piece), "bytes written at once")
        answer = b"".join(all_of(line))
    expect(answer[:1], b"\x20", "first byte of the CONNACK")
    return answer.hex()


@scenario("3.1", *MODERN)
def basics(stage):
    subscriber = stage.subscriber(stage.topic("t"))
    publisher = stage.peer("publisher")
    publisher.publish(stage.topic("t"), "hello")
    message = subscriber.take_one()
    closed = [publisher.leave(), subscriber.leave()]
    return {"message": message, "closed": closed, "publisher": publisher.trace, "subscriber": subscriber.trace}


@scenario(*MODERN)
def connect_flags_and_connack(stage):
    will = {"topic": stage.topic("will"), "payload": "w", "qos": 2, "retain": True}
    hows = {
        "clean": {},
        "will": {"will": will},
        "username": {"login": ("someone", None)},
        "username_and_password": {"login": ("someone", "secret")},
        "everything": {"will": will, "login": ("someone", "secret"), "keepalive": 0},
    }
    if stage.v5:
        hows["properties"] = {"connect": {
            "SessionExpiryInterval": 0, "ReceiveMaximum": 7, "MaximumPacketSize": 100_000, "TopicAliasMaximum": 5,
            "RequestResponseInformation": 1, "RequestProblemInformation": 0,
            "UserProperty": [("a", "1"), ("a", "2"), ("é", "ü")]}}
    seen = {}
    for name, how in hows.items():
        peer = stage.peer(name, **how)
        seen[name] = {"connack": peer.connack, "closed": peer.leave(), "trace": peer.trace}
    return seen


@scenario(*MODERN)
def empty_client_id(stage):
    peer = stage.peer("", client_id="")
    assigned = "AssignedClientIdentifier" in peer.connack["properties"]
    expect(assigned, stage.v5, "an assigned client identifier")
    return {"connack": peer.connack, "works": echo(stage, peer)}


@scenario("3.1.1")
def empty_client_id_without_clean_session(stage):
    # Paho would not send it, nor show the CONNACK.
    answer = live(stage, [bytes.fromhex("100c 0004 4d515454 04 00 003c 0000")])
    expect(answer, "20020002", "CONNACK")
    return answer


@scenario("5")
def refused_by_the_broker(stage):
    method = {"AuthenticationMethod": "no-such-method", "AuthenticationData": b"\x00\xff"}
    peer = Peer(stage, "stranger", connect=method)
    return {"connack": peer.connack, "ended": peer.await_end(), "trace": peer.trace}


def whole_life(stage):
    """CONNECT, SUBSCRIBE, PUBLISH to oneself and DISCONNECT, as bytes: a client need not await any answer."""

    def string(text):
        return struct.pack("!H", len(text)) + text.encode()

    def packet(kind, *parts):
        body = b"".join(parts)
        return bytes((kind, len(body))) + body

    none = b"\0" if stage.v5 else b""
    level = bytes((VERSIONS[stage.version],))
    topic = string(stage.topic("t"))
    return b"".join((
        packet(0x10, string("MQTT"), level, b"\x02\0\x3c", none, string(stage.client_id("raw"))),
        packet(0x82, b"\0\1", none, topic, b"\0"),
        packet(0x32, topic, b"\0\2", none, b"payload"),
        packet(0xE0),
    ))


@scenario(*MODERN)
def all_packets_in_one_write(stage):
    return live(stage, [whole_life(stage)])


@scenario(*MODERN)
def every_byte_in_its_own_write(stage):
    return live(stage, (bytes((byte,)) for byte in whole_life(stage)))


@scenario(*MODERN)
def binary_password(stage):
    peer = stage.peer("client", login=("üser", bytes(range(256))))
    return {"connack": peer.connack, "trace": peer.trace, "works": echo(stage, peer)}


@scenario(*MODERN)
def large_connect(stage):
    will = {"topic": stage.topic("will"), "payload": noise(20_000)}
    peer = stage.peer("", client_id="i" * 1_000, will=will, login=("u" * 5_000, noise(5_000)))
    observer = stage.subscriber(stage.topic("will"))
    closed = peer.vanish()
    seen = observer.take_one()
    expect(seen["payload"], sha256(will["payload"]), "will payload")
    return {"will": seen, "closed": closed}


@scenario(*MODERN)
def multi_byte_names(stage):
    peer = stage.peer("", client_id="ключ-日本語-🚪-" + stage.version)
    subscribed = peer.subscribe(stage.topic("größe/日本/🚀/+"), 1)
    peer.publish(stage.topic("größe/日本/🚀/ü"), "żółć".encode())
    return {"subscribed": subscribed, "message": peer.take_one()}


@scenario(*MODERN)
def take_over(stage):
    first = stage.peer("same")
    second = stage.peer("same")
    ended = first.await_end()
    # The standard demands a DISCONNECT in version 5, yet mosquitto sends it only since 2.0.15.
    if ended["by_server_packet"]:
        expect(ended["code"], 0x8E, "DISCONNECT to the first")
    return {"ended": ended, "first": first.trace, "second": second.connack, "works": echo(stage, second)}


@scenario(*MODERN)
def keep_alive_pings(stage):
    peer = stage.peer("quiet", keepalive=2)
    stage.until(lambda: peer.trace.count("Received PINGRESP") == 2 or peer.ended, "two PINGRESP")
    expect(peer.ended, None, "connection kept alive")
    return {"trace": peer.trace}


@scenario("5")
def silence_ends_in_a_will(stage):
    observer = stage.subscriber(stage.topic("will"))
    mute = stage.peer("mute", keepalive=1, will={"topic": stage.topic("will"), "payload": "gone"})
    # Undriven, it sends no PINGREQ: the broker must miss it, and nobody else may ping for it.
    stage.peers.remove(mute)
    message = observer.take_one()
    with bare(mute.client.socket()) as line:
        return {"will": message, "closed": await_close(line)}


# --- publishing and subscribing ---


def echo(stage, peer):
    topic = stage.topic("echo")
    peer.subscribe(topic, 1)
    peer.publish(topic, "echo")
    return peer.take_one()


@scenario(*MODERN)
def every_quality_of_service(stage):
    seen = {}
    for granted in (0, 1, 2):
        for sent in (0, 1, 2):
            subscriber = stage.subscriber(stage.topic("t"), granted)
            publisher = stage.peer("publisher")
            publisher.publish(stage.topic("t"), f"{sent} to {granted}", sent)
            message = subscriber.take_one()
            expect(message["qos"], min(sent, granted), "delivered QoS")
            publisher.leave()
            subscriber.leave()
            seen[f"{sent} to {granted}"] = {
                "message": message, "publisher": publisher.trace, "subscriber": subscriber.trace}
    return seen


@scenario(*MODERN)
def order_is_kept(stage):
    subscriber = stage.subscriber(stage.topic("t"), 2)
    publisher = stage.peer("publisher")
    handed = [publisher.client.publish(stage.topic("t"), str(n), 2) for n in range(200)]
    for info in handed:
        publisher.acknowledged(info)
    payloads = [message["payload"] for message in subscriber.take(200)]
    expect(payloads, [str(n) for n in range(200)], "payloads in order")
    expect(subscriber.take_all(), [], "messages beyond the 200")
    return len(payloads)


@scenario(*MODERN)
def retained(stage):
    topic = stage.topic("t")
    publisher = stage.peer("publisher")
    early = stage.subscriber(topic)
    publisher.publish(topic, "kept", retain=True)
    at_once = early.take_one()
    late = stage.peer("late")
    late.subscribe(topic, 1)
    later = late.take_one()
    publisher.publish(topic, b"", retain=True)
    clearing = late.take_one()
    too_late = stage.peer("too-late")
    too_late.subscribe(topic, 1)
    expect(too_late.take_all(), [], "messages after clearing")
    expect((at_once["retain"], later["retain"]), (False, True), "retain flags")
    return {"at_once": at_once, "later": later, "clearing": clearing}


@scenario(*MODERN)
def unsubscribe(stage):
    peer = stage.subscriber(stage.topic("t"))
    peer.publish(stage.topic("t"), "before")
    before = peer.take_one()
    acks = [peer.unsubscribe(stage.topic("t")), peer.unsubscribe([stage.topic("never"), stage.topic("had")])]
    peer.publish(stage.topic("t"), "after")
    expect(peer.take_all(), [], "messages after UNSUBACK")
    return {"before": before, "acks": acks, "trace": peer.trace}


@scenario(*MODERN)
def wildcards(stage):
    filters = {"plus": "+/b", "hash": "a/#", "both": "+/+/#", "exact": "a/b", "root": "a"}
    peers = {}
    for name, filter_ in filters.items():
        peers[name] = stage.peer(name)
        peers[name].subscribe(stage.topic(filter_), 1)
    publisher = stage.peer("publisher")
    for levels in ("a", "a/b", "a/b/c", "x/b", "/b", "a//c"):
        publisher.publish(stage.topic(levels), levels)
    seen = {name: [message["payload"] for message in peer.take_all()] for name, peer in peers.items()}
    expect(seen["plus"], ["a/b", "x/b", "/b"], "matches of +/b")
    return seen


@scenario(*MODERN)
def many_topics_in_one_subscribe(stage):
    peer = stage.peer("client")
    topics = [stage.topic(str(n)) for n in range(500)]
    granted = peer.subscribe([(topic, n % 3) for n, topic in enumerate(topics)])
    expect(granted, [n % 3 for n in range(500)], "SUBACK codes")
    for n in (0, 250, 499):
        peer.publish(topics[n], str(n), 2)
    messages = sorted(peer.take(3), key=lambda message: message["topic"])
    return {"granted": len(granted), "messages": messages, "dropped": len(peer.unsubscribe(topics))}


@scenario(*MODERN)
def payloads_of_every_size(stage):
    return [carry(stage, size) for size in (0, 1, 127, 128, 16 * 1024, 1024 * 1024)]


@scenario(*MODERN)
def remaining_length_edges(stage):
    # Where the variable-length size in the fixed header grows by a byte.
    beside_payload = 2 + len(stage.topic("t")) + 2 + stage.v5
    return [carry(stage, length - beside_payload) for length in (127, 128, 16_383, 16_384, 2_097_151, 2_097_152)]


@scenario("5")
def payload_of_64_mib(stage):
    return carry(stage, 64 * 1024 * 1024)


def carry(stage, size):
    payload = noise(size)
    subscriber = stage.subscriber(stage.topic("t"))
    publisher = stage.peer("publisher")
    # Not by `publish`: a hash is wanted of short ones too.
    came = []
    subscriber.client.on_message = lambda _c, _u, message: came.append(sha256(message.payload))
    publisher.publish(stage.topic("t"), payload)
    stage.until(lambda: came, f"payload of {size} B")
    expect(came, [sha256(payload)], f"payload of {size} B")
    publisher.leave()
    subscriber.leave()
    return {"size": size, "sha256": came[0]}


# --- wills ---


@scenario(*MODERN)
def will_after_abnormal_close(stage):
    seen = {}
    for how, end in {"fin": Peer.vanish, "reset": Peer.reset}.items():
        for qos in (0, 1, 2):
            topic = stage.topic(how, str(qos))
            observer = stage.subscriber(topic, 2)
            peer = stage.peer("mortal", will={"topic": topic, "payload": f"{how} {qos}", "qos": qos})
            closed = end(peer)
            seen[f"{how} {qos}"] = {"will": observer.take_one(), "closed": closed}
            observer.leave()
    return seen


@scenario(*MODERN)
def retained_will(stage):
    topic = stage.topic("will")
    stage.retained.add(topic)
    stage.peer("mortal", will={"topic": topic, "payload": "last", "qos": 1, "retain": True}).vanish()
    return stage.subscriber(topic).take_one()


@scenario(*MODERN)
def no_will_after_disconnect(stage):
    observer = stage.subscriber(stage.topic("will"))
    closed = stage.peer("polite", will={"topic": stage.topic("will"), "payload": "no"}).leave()
    expect(observer.take_all(), [], "will after a clean DISCONNECT")
    return {"closed": closed}


@scenario("5")
def will_after_disconnect_with_will(stage):
    observer = stage.subscriber(stage.topic("will"))
    properties = props(
        PacketTypes.WILLMESSAGE, ContentType="text/plain", PayloadFormatIndicator=1, ResponseTopic="re/turn",
        CorrelationData=b"\x00\xff", UserProperty=[("k", "v")])
    peer = stage.peer("asking", will={"topic": stage.topic("will"), "payload": "please", "properties": properties})
    closed = peer.leave(reasoncode=ReasonCode(PacketTypes.DISCONNECT, identifier=0x04))
    return {"will": observer.take_one(), "closed": closed}


@scenario("5")
def will_delay(stage):
    observer = stage.subscriber(stage.topic("will", "+"))

    def mortal(name):
        properties = props(PacketTypes.WILLMESSAGE, WillDelayInterval=2)
        return stage.resident(
            name, will={"topic": stage.topic("will", name), "payload": name, "properties": properties})

    # The one that comes back vanished first, so that its will would have come first.
    mortal("returning").vanish()
    mortal("lost").vanish()
    vanished = time.monotonic()
    returned = mortal("returning").connack
    will = observer.take_one()
    # Brokers count in whole seconds.
    if time.monotonic() - vanished < 1:
        raise Failed("the will came at once")
    expect(will["payload"], "lost", "will")
    expect(observer.take_all(), [], "will of the one that returned")
    return {"will": will, "returned": returned}


# --- sessions ---


@scenario(*MODERN)
def session_resumption(stage):
    topic = stage.topic("t")
    resident = stage.resident("resident")
    resident.subscribe(topic, 1)
    first = resident.connack
    resident.leave()
    publisher = stage.peer("publisher")
    for n in range(5):
        publisher.publish(topic, f"queued {n}")
    back = stage.resident("resident")
    queued = back.take(5)
    expect((first["session_present"], back.connack["session_present"]), (False, True), "session present")
    expect([message["payload"] for message in queued], [f"queued {n}" for n in range(5)], "queued messages")
    back.leave()
    fresh = stage.peer("resident")
    expect(fresh.take_all(), [], "messages after a clean start")
    return {"first": first, "back": back.connack, "queued": queued, "fresh": fresh.connack, "trace": back.trace}


@scenario(*MODERN)
def unacknowledged_message_comes_again(stage):
    topic = stage.topic("t")
    resident = stage.resident("resident", manual_ack=True)
    resident.subscribe(topic, 1)
    stage.peer("publisher").publish(topic, "again")
    once = resident.take_one()
    resident.vanish()
    twice = stage.resident("resident").take_one()
    expect((once["dup"], twice["dup"]), (False, True), "DUP flags")
    return [once, twice]


@scenario("5")
def session_expiry(stage):
    seen = {}
    for name, connect, disconnect in (
        ("none", {"SessionExpiryInterval": 0}, None),
        ("kept", {}, None),
        ("ended by DISCONNECT", {}, {"SessionExpiryInterval": 0}),
        ("lengthened by DISCONNECT", {"SessionExpiryInterval": 1}, {"SessionExpiryInterval": 300}),
    ):
        properties = disconnect and props(PacketTypes.DISCONNECT, **disconnect)
        stage.resident(name, connect=connect).leave(properties=properties)
        seen[name] = stage.resident(name).connack["session_present"]
    expect(list(seen.values()), [False, True, False, True], "session present")
    return seen


# --- what only MQTT 5 has ---


@scenario("5")
def properties_round_trip(stage):
    topic = stage.topic("t")
    subscriber = stage.subscriber(topic, 2)
    sent = {
        "PayloadFormatIndicator": 1,
        "MessageExpiryInterval": 3600,
        "ContentType": "application/json; charset=utf-8",
        "ResponseTopic": stage.topic("réponse"),
        "CorrelationData": bytes(range(256)),
        "UserProperty": [("key", "1"), ("key", "2"), ("", ""), ("ключ", "値")],
    }
    stage.peer("publisher").publish(topic, "{}", 2, **sent)
    message = subscriber.take_one()
    came = message["properties"]
    # What is left of it depends on whether a second turned meanwhile.
    left = came.pop("MessageExpiryInterval")
    if not 3600 - PATIENCE <= left <= 3600:
        raise Failed(f"message expiry interval: found {left}, wanted about 3600")
    wanted = publish_props(**sent).json()
    del wanted["MessageExpiryInterval"]
    expect(came, wanted, "properties")
    return message


@scenario("5")
def subscription_identifiers(stage):
    seen = []
    peer = stage.peer("client")
    for number, filter_ in ((1, "a"), (268_435_455, "+")):
        identified = props(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=number, UserProperty=[("n", str(number))])
        peer.subscribe(stage.topic(filter_), 1, properties=identified)
    for levels in ("a", "b"):
        peer.publish(stage.topic(levels), levels)
        seen += peer.take_all()
    # Overlapping subscriptions: one copy with both identifiers, or one copy each; the broker chooses.
    return sorted(seen, key=lambda message: json.dumps(message, sort_keys=True))


@scenario("5")
def subscribe_options(stage):
    topic = stage.topic("t")
    stage.peer("publisher").publish(topic, "kept", retain=True)
    seen = {}
    for name, options in {
        "no local": SubscribeOptions(1, noLocal=True),
        "retain as published": SubscribeOptions(1, retainAsPublished=True),
        "retained if new": SubscribeOptions(1, retainHandling=1),
        "nothing retained": SubscribeOptions(1, retainHandling=2),
    }.items():
        peer = stage.peer("subscriber")
        for _ in ("new", "known"):
            peer.subscribe(topic, options=options)
        peer.publish(topic, "kept", retain=True)
        seen[name] = [message["retain"] for message in peer.take_all()]
        peer.leave()
    wanted = {
        "no local": [True, True],
        "retain as published": [True, True, True],
        "retained if new": [True, False],
        "nothing retained": [False],
    }
    expect(seen, wanted, "retain flags")
    return seen


@scenario("5")
def topic_alias_from_the_publisher(stage):
    subscriber = stage.subscriber(stage.topic("+"))
    publisher = stage.peer("publisher")
    publisher.publish(stage.topic("a"), "named", TopicAlias=1)
    publisher.publish("", "aliased", TopicAlias=1)
    publisher.publish(stage.topic("b"), "renamed", TopicAlias=1)
    publisher.publish("", "aliased again", TopicAlias=1)
    messages = subscriber.take(4)
    expect([m["topic"][-1] for m in messages], ["a", "a", "b", "b"], "topics")
    return {"messages": messages, "publisher": publisher.trace}


@scenario("5")
def disconnected_for_a_bad_topic_alias(stage):
    peer = stage.peer("client")
    peer.client.publish(stage.topic("t"), "x", 1, properties=publish_props(TopicAlias=65_535))
    return {"ended": peer.await_end(), "trace": peer.trace}


@scenario("5")
def receive_maximum(stage):
    topic = stage.topic("t")
    slow = stage.subscriber(topic, connect={"ReceiveMaximum": 2}, manual_ack=True)
    publisher = stage.peer("publisher")
    for n in range(4):
        publisher.publish(topic, str(n))
    in_flight = slow.take(2)
    expect(slow.take_all(), [], "messages beyond the receive maximum")
    # The broker numbers what it sends from 1.
    for mid in (1, 2):
        slow.client.ack(mid, 1)
    rest = slow.take(2)
    return {"in_flight": in_flight, "rest": rest, "trace": slow.trace}


@scenario("5")
def maximum_packet_size(stage):
    topic = stage.topic("t")
    small = stage.subscriber(topic, connect={"MaximumPacketSize": 200})
    publisher = stage.peer("publisher")
    codes = [publisher.publish(topic, payload) for payload in ("before", b"x" * 300, "after")]
    messages = small.take_all()
    expect([message["payload"] for message in messages], ["before", "after"], "messages that fit")
    return {"codes": codes, "messages": messages}


@scenario("5")
def shared_subscription(stage):
    topic = stage.topic("t")
    members = [stage.peer(name) for name in ("one", "two")]
    granted = [member.subscribe(f"$share/{stage.name}/{topic}", 1) for member in members]
    publisher = stage.peer("publisher")
    codes = [publisher.publish(topic, f"{n:02}") for n in range(20)]
    shares = [member.take_all() for member in members]
    if not all(shares):
        raise Failed("one member got nothing")
    union = sorted(message["payload"] for share in shares for message in share)
    expect(union, [f"{n:02}" for n in range(20)], "messages of the group")
    return {"granted": granted, "codes": codes, "union": union}


@scenario("5")
def nobody_listens(stage):
    code = stage.peer("publisher").publish(stage.topic("t"), "x")
    return {"puback": code}


def run(given, name, version, play):
    stage = Stage(given, name, version)
    try:
        observed = play(stage)
        stage.clean_up()
    except Exception as error:  # Whatever it is, the other scenarios have their say.
        with contextlib.suppress(Exception):
            stage.drop_all()
            stage.clean_up()
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        print(f"{name} ({version}): {kind}{error}", file=sys.stderr)
        return False
    line = {"scenario": name, "version": version, "observed": observed}
    print(json.dumps(line, ensure_ascii=False, sort_keys=True), flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--transport", choices=("tcp", "tls", "ws", "wss"), default="tcp")
    parser.add_argument("--path", default="/mqtt", help="of WebSockets")
    parser.add_argument("--ca", help="who vouches for the server (tls, wss)")
    parser.add_argument("--cert", help="what the client shows")
    parser.add_argument("--key", help="its private key")
    parser.add_argument("--only", metavar="NAME", choices=[name for name, _, _ in SCENARIOS])
    parser.add_argument("--skip", metavar="NAME", action="append", default=[], help="may be repeated")
    parser.add_argument("--times", action="store_true", help="tell on stderr how long each scenario took")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done within {LIMIT} s"))
    signal.alarm(LIMIT)
    failures = 0
    for name, versions, play in SCENARIOS:
        if name in given.skip or given.only not in (None, name):
            continue
        for version in versions:
            started = time.monotonic()
            failures += not run(given, name, version, play)
            if given.times:
                print(f"{time.monotonic() - started:6.2f} s  {name} ({version})", file=sys.stderr)
    if failures:
        sys.exit(f"{failures} scenario(s) failed")


if __name__ == "__main__":
    main()
