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
from urllib.parse import quote

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/real/dashboard"))

from stage import PASSWORD, Proxy, Stage  # noqa: E402

AT = "sort=at&order=desc"
VIEWS = {
    "as they are opened": AT,
    "by name": "sort=who&order=asc",
    "by kind": "sort=as&order=desc",
    "by reason": "sort=reason&order=asc",
    "by author": "sort=by&order=desc",
    "by end": "sort=until&order=asc",
    "by status": "sort=status&order=asc",
    "by hits": "sort=hits&order=desc",
    "by last hit": "sort=last_hit&order=desc",
    "of a frequent kind": f"as=clientid&{AT}",
    "of a rare kind": f"as=peerhost&{AT}",
    "of one kind and status, by end": "as=clientid&status=active&sort=until&order=asc",
    "that have ended": f"status=expired&{AT}",
    "that are about to go": f"status=deleting_soon&{AT}",
    "active ones by hits": "status=active&sort=hits&order=desc",
    "that end within a window": f"gte_until=4000001000&lte_until=4000004600&{AT}",
    "that never end": f"gte_until=infinity&{AT}",
    "of an author who made one": f"by=nobody&{AT}",
    "of the config file": f"source=file&{AT}",
    "of run time": f"source=run_time&{AT}",
    "named exactly so": f"who=dev-500000&{AT}",
    "contains, one fits": f"text=dev-500000&{AT}",
    "contains, eleven fit": f"text=-50000&{AT}",
    "contains, half fit, by name": "text=7&sort=who&order=asc",
    "contains, all fit": f"text=DEV-&{AT}",
    "contains one letter that all have": f"text=e&{AT}",
    "contains, none fits": f"text=nobody&{AT}",
    "contains, none fits, by hits": "text=nobody&sort=hits&order=desc",
    "contains, all fit, by reason": "text=dev&sort=reason&order=asc",
    "contains, active client identifiers": f"text=99&as=clientid&status=active&{AT}",
    "pattern, one fits": f"like_who=^dev-500000$&{AT}",
    "pattern, many fit": f"like_who=^dev-.*7$&{AT}",
    "pattern, all fit": f"like_who=dev&{AT}",
    "pattern, none fits": f"like_who=nobody&{AT}",
    "pattern without a text, none fits": f"like_who=^.$&{AT}",
    "pattern without a text, many fit": f"like_who=[0-9]{{6}}$&{AT}",
    "pattern without a text, all fit": f"like_who=.&{AT}",
    "pattern that looks around": f"like_who=(?<!5)7$&{AT}",
    "EMQX: like_clientid, page 1": "like_clientid=50000",
    "EMQX: like_username, none": "like_username=50000",
    "page 2 of 50": f"{AT}&page=2",
    "page 10,000 of 50": f"{AT}&page=10000",
    "page 10,000 of what contains something, by name": "text=dev&sort=who&order=asc&page=10000",
}


def told(name, values):
    values = sorted(values)
    at = lambda part: values[min(len(values) - 1, int(len(values) * part))] * 1000
    print(f"{name:<50} p50 {at(0.5):8.1f} ms   p99 {at(0.99):8.1f} ms   max {values[-1] * 1000:8.1f} ms")


def token(proxy):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.api)
    body = json.dumps({"username": "admin", "password": PASSWORD})
    connection.request("POST", "/api/v5/login", body, {"content-type": "application/json"})
    return json.load(connection.getresponse())["token"]


def resident(proxy, when):
    status = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
    print(f"resident {when}: {int(status.split('VmRSS:')[1].split()[0]) / 1024:.0f} MiB")


def lists(proxy, bans):
    lines = (json.dumps({"as": "clientid", "who": f"dev-{n}", "by": "ops", "reason": "r", "at": 1_700_000_000 + n, "until": 4_000_000_000 + n % 1000 * 60}) for n in range(bans))
    file = proxy.folder / "bans.jsonl"
    file.write_text("\n".join(lines))
    began = time.perf_counter()
    proxy.command("bans", "import", str(file))
    print(f"import of {bans}: {time.perf_counter() - began:.1f} s")
    connection = http.client.HTTPConnection("127.0.0.1", proxy.api)
    head = {"authorization": f"Bearer {token(proxy)}"}
    resident(proxy, "with all bans")

    def ask(query):
        began = time.perf_counter()
        connection.request("GET", "/api/v5/banned?" + quote(query, safe="=&"), headers=head)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return time.perf_counter() - began, json.loads(body)

    began = time.perf_counter()
    ask(f"view=full&limit=50&text=x&{AT}")
    print(f"first filter after the start: {time.perf_counter() - began:.3f} s")
    while ask(f"view=full&limit=50&text=nobody&{AT}")[0] > 0.2 and time.perf_counter() - began < 10:
        pass
    print(f"from then on fast: after {time.perf_counter() - began:.1f} s")
    for name, query in VIEWS.items():
        query = f"view=full&limit=50&{query}"
        took = ask(query)[0]
        told(name, [ask(query)[0] for _ in range(100 if took < 0.1 else 10 if took < 0.3 else 2)])
    resident(proxy, "after all that")
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
