"""Prices of the dashboard: when it is painted, how long its lists of a million take the server, what listening costs.

usage: tests/real/.venv/bin/python benches/dashboard.py --binary FILE [--bans N] [paint] [lists] [feed]

Needs what tests/run installs. `lists` needs no browser, and no dashboard: it asks for what the page asks for.
"""

import argparse
import http.client
import json
import os
import pathlib
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/real/dashboard"))

from stage import PASSWORD, Proxy, Stage  # noqa: E402

VIEWS = {
    "bans, as they are opened": "view=full&limit=50&sort=at&order=desc",
    "by name": "view=full&limit=50&sort=who&order=asc",
    "by hits": "view=full&limit=50&sort=hits&order=desc",
    "of one kind and status, by end": "view=full&limit=50&as=clientid&status=active&sort=until&order=asc",
    "whose name is exactly this": "view=full&limit=50&who=dev-500000&sort=at&order=desc",
    "whose name contains this (looks at all)": "view=full&limit=50&text=dev-50000&sort=at&order=desc",
}


def told(name, values):
    values = sorted(values)
    at = lambda part: values[min(len(values) - 1, int(len(values) * part))] * 1000
    print(f"{name:<44} p50 {at(0.5):8.1f} ms   p99 {at(0.99):8.1f} ms   max {values[-1] * 1000:8.1f} ms")


def token(proxy):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.api)
    body = json.dumps({"username": "admin", "password": PASSWORD})
    connection.request("POST", "/api/v5/login", body, {"content-type": "application/json"})
    return json.load(connection.getresponse())["token"]


def lists(proxy, bans):
    lines = (json.dumps({"as": "clientid", "who": f"dev-{n}", "by": "ops", "reason": "r", "at": 1_700_000_000 + n, "until": 4_000_000_000 + n % 1000 * 60}) for n in range(bans))
    file = proxy.folder / "bans.jsonl"
    file.write_text("\n".join(lines))
    began = time.perf_counter()
    proxy.command("bans", "import", str(file))
    print(f"import of {bans}: {time.perf_counter() - began:.1f} s")
    connection = http.client.HTTPConnection("127.0.0.1", proxy.api)
    head = {"authorization": f"Bearer {token(proxy)}"}

    def ask(query):
        began = time.perf_counter()
        connection.request("GET", f"/api/v5/banned?{query}", headers=head)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return time.perf_counter() - began, json.loads(body)

    for name, query in VIEWS.items():
        told(name, [ask(query)[0] for _ in range(20 if "looks at all" in name else 200)])
    # On from page to page, as with the button.
    times, cursor = [], ""
    for _ in range(200):
        took, page = ask("view=full&limit=50&sort=at&order=desc" + (f"&cursor={cursor}" if cursor else ""))
        times.append(took)
        cursor = page["meta"]["next_cursor"]
    told("page after page", times)


def paint(stage):
    page = stage.page().log_in()
    tiles = page.page.locator("main .tile").first
    tiles.wait_for()
    first, full = [], []
    for _ in range(21):
        page.page.reload()
        tiles.wait_for()
        first.append(page.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
        full.append(page.page.evaluate("performance.now()") / 1000)
    told("first contentful paint", first)
    told("figures shown", full)


def feed(proxy):
    head = {"authorization": f"Bearer {token(proxy)}"}
    ticks = os.sysconf("SC_CLK_TCK")

    def spent():
        fields = pathlib.Path(f"/proc/{proxy.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    listening = []
    for listeners in (0, 1, 16):
        while len(listening) < listeners:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.api)
            connection.request("GET", "/dashboard/feed", headers=head)
            listening.append(connection.getresponse())
        before, began = spent(), time.monotonic()
        while time.monotonic() - began < 20:
            for answer in listening:
                while answer.readline().strip():
                    pass
            if not listening:
                time.sleep(1)
        used = (spent() - before) / (time.monotonic() - began)
        print(f"processor time with {listeners:>2} listening: {used * 1000:.1f} ms a second, all threads together")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--bans", type=int, default=1_000_000)
    parser.add_argument("what", nargs="*", default=["paint", "lists", "feed"])
    options = parser.parse_args()
    axe = ROOT / "tests/real/js/node_modules/axe-core/axe.min.js"
    with tempfile.TemporaryDirectory() as folder:
        more = types.SimpleNamespace(binary=options.binary, broker="127.0.0.1:1", chromium="/usr/bin/chromium", axe=axe, shots=folder, files=None)
        if "paint" in options.what:
            stage = Stage(more, tempfile.mkdtemp(dir=folder))
            paint(stage)
            stage.end()
        proxy = Proxy(options.binary, more.broker, tempfile.mkdtemp(dir=folder))
        if "feed" in options.what:
            feed(proxy)
        if "lists" in options.what:
            lists(proxy, options.bans)
        proxy.end()


if __name__ == "__main__":
    main()
