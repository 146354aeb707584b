"""Has schemathesis call every operation of the OpenAPI document, with what fits it and with what does not.

No answer may be a server error, and each must be one that the document declares.

usage: fuzz_api.py --socket PATH [--seconds N]
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

from api import Api

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
]
SEED = 20261121


def bridge(path):
    """Takes TCP connections to the socket, since schemathesis speaks nothing else; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def pump(source, sink):
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(client):
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            up = threading.Thread(target=pump, args=(client, server), daemon=True)
            up.start()
            pump(server, client)

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--seconds", type=int, default=45)
    arguments = parser.parse_args()
    url = f"http://127.0.0.1:{bridge(arguments.socket)}"
    document = Api(arguments.socket).document
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/api/v5/openapi.json", "--url", url]
        command += ["--checks", ",".join(CHECKS), "--seed", str(SEED), "--max-time", str(arguments.seconds)]
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--request-timeout", "10"]
        command += ["--suppress-health-check", "all", "--warnings", "off", "--no-shrink", "--no-color"]
        here = str(pathlib.Path(__file__).parent)
        hooks = {"SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": here}
        ended = subprocess.run(command, cwd=folder, env=os.environ | hooks, timeout=arguments.seconds * 4 + 60)
    Api(arguments.socket).call("GET", "/livez", 200)
    print(f"{sum(len(item) for item in document['paths'].values())} operations were fuzzed")
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
