#!/usr/bin/env python3
"""Tells what paho-mqtt sees of its own end.

Connects, tells so in one JSON line, waits for whatever ends the session, and tells what that was. With a
wrong password it tells the refusal, and that is all.
"""

import argparse
import json
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 30.0
VERSIONS = {"3.1.1": paho.MQTTv311, "5": paho.MQTTv5}


def tell(**facts):
    print(json.dumps(facts), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", choices=VERSIONS, default="5")
    parser.add_argument("--id", required=True)
    parser.add_argument("--username", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--will", help="the topic of a will, which says the identifier")
    parser.add_argument("--transport", choices=["tcp", "websockets"], default="tcp")
    parser.add_argument("--ca", help="speak TLS with whom this authority vouches for")
    asked = parser.parse_args()

    ended = threading.Event()
    client = paho.Client(
        CallbackAPIVersion.VERSION2, asked.id, protocol=VERSIONS[asked.version], transport=asked.transport,
        reconnect_on_failure=False)
    if asked.will:
        client.will_set(asked.will, asked.id, qos=1)
    if asked.transport == "websockets":
        client.ws_set_options(path="/mqtt")
    if asked.ca:
        client.tls_set(asked.ca)
    client.username_pw_set(asked.username, asked.password)

    def on_disconnect(_client, _userdata, flags, reason, _properties):
        tell(ended=str(reason), told=flags.is_disconnect_packet_from_server)
        ended.set()

    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: tell(connack=str(reason))
    client.on_disconnect = on_disconnect
    client.connect(asked.host, asked.port)
    client.loop_start()
    in_time = ended.wait(PATIENCE)
    client.loop_stop()
    return 0 if in_time else 1


if __name__ == "__main__":
    raise SystemExit(main())
