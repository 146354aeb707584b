"""What the browser tests play on: the proxy, MQTT clients that are as odd as they like, and pages that are watched."""

import json
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

from playwright.sync_api import expect, sync_playwright

PASSWORD = "correct horse battery"
PATIENCE = 30
expect.set_options(timeout=PATIENCE * 1000)


def eventually(what, happened):
    end = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


class Proxy:
    """The binary, with its API on an address."""

    def __init__(self, binary, broker, folder, more=""):
        self.binary, self.folder = binary, pathlib.Path(folder)
        self.file = self.folder / "test.toml"
        (self.folder / "password").write_text(f"admin:{PASSWORD}")
        self.more, self.broker = more, broker
        self.mqtt = self.api = 0
        self.start()

    def config(self, more=None):
        return f"""
[node]
name = "edge-1"
data_dir = "data"
[[listener]]
name = "mqtt"
bind = "127.0.0.1:{self.mqtt}"
max_connect_size = "256KB"
[upstream]
servers = ["{self.broker}"]
[admin]
bind = "127.0.0.1:{self.api}"
password_file = "password"
{self.more if more is None else more}
"""

    def start(self):
        self.file.write_text(self.config())
        self.log = open(self.folder / "log", "ab+")
        mark = self.log.seek(0, 2)
        command = [self.binary, "serve", "--config", self.file]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

        def listening(words):
            text = (self.folder / "log").read_bytes()[mark:].decode()
            assert self.process.poll() is None, text
            found = re.search(words + r".*address=127\.0\.0\.1:(\d+)", text)
            return int(found[1]) if found and "mqtt-bouncer has started" in text else None

        self.mqtt = eventually("the listener", lambda: listening("listening listener=\"?mqtt"))
        self.api = eventually("the API", lambda: listening("API is listening"))
        self.url = f"http://127.0.0.1:{self.api}"

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)
        self.log.close()

    def command(self, *words, stdin=None):
        command = [self.binary, *words, "--config", self.file]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(data)) + data


class Client:
    """Speaks MQTT 3.1.1, with whatever name."""

    def __init__(self, proxy, name, username=None, source="127.0.0.1"):
        flags = 2 | (0x80 if username is not None else 0)
        body = text("MQTT") + bytes([4, flags, 0, 60]) + text(name) + (text(username) if username is not None else b"")
        length, digits = len(body), bytearray()
        while True:
            length, digit = divmod(length, 128)
            digits.append(digit | (0x80 if length else 0))
            if not length:
                break
        self.socket = socket.create_connection(("127.0.0.1", proxy.mqtt), PATIENCE, (source, 0))
        self.socket.sendall(b"\x10" + bytes(digits) + body)
        answer = self.socket.recv(4)
        self.code = answer[3] if len(answer) == 4 else None

    def is_out(self):
        self.socket.settimeout(PATIENCE)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def leave(self):
        self.socket.close()


class Watched:
    """A page of its own browser context. Whatever it complains of, and whatever it asks others for, fails the test."""

    def __init__(self, stage, **options):
        self.stage, self.proxy = stage, stage.proxy
        options.setdefault("viewport", {"width": 1280, "height": 900})
        options.setdefault("timezone_id", "America/New_York")
        self.context = stage.browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints, self.foreign, self.bytes, self.allowed = [], [], {}, []
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self.see)
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"a dialog: {dialog.message}"), dialog.dismiss()))

    def hear(self, message):
        # A browser reports every answer that is no success; which of them are right, the flows say.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def see(self, request):
        if not request.url.startswith((self.proxy.url, "blob:", "data:")):
            self.foreign.append(request.url)

    def log_in(self, name="admin", password=PASSWORD, to="/"):
        self.page.goto(self.proxy.url + to)
        self.enter(name, password)
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()
        return self

    def enter(self, name="admin", password=PASSWORD):
        self.page.get_by_label("User name").last.fill(name)
        self.page.get_by_label("Password").last.fill(password)
        self.page.get_by_role("button", name="Log in").last.click()

    def view(self, path):
        self.page.goto(f"{self.proxy.url}/dashboard/{path}")
        expect(self.page.locator("main h1").first).to_be_visible()

    def row(self, words):
        return self.page.locator("tbody tr").filter(has_text=words)

    def toast(self, words):
        expect(self.page.locator("#toasts")).to_contain_text(words)

    def dialog(self):
        return self.page.locator("dialog[open]").last

    def shot(self, name):
        self.page.screenshot(path=self.stage.shots / f"{name}.png")

    # Calls of the API as this page makes them.
    def fetch(self, method, path, body=None, headers=None):
        script = """async ([method, path, body, headers]) => {
          const told = await (await fetch("/dashboard/session")).json().catch(() => ({}));
          const all = { "x-csrf-token": told.csrf ?? "-", ...headers };
          if (body !== null) all["content-type"] = "application/json";
          const answer = await fetch(path, { method, headers: all, body: body === null ? undefined : JSON.stringify(body) });
          return [answer.status, await answer.text()];
        }"""
        return self.page.evaluate(script, [method, path, body, headers or {}])

    def axe(self, what):
        """No finding that is serious."""
        found = self.page.evaluate(self.stage.axe + "; axe.run(document, { resultTypes: ['violations'] })")
        bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        told = [f"{one['id']} ({one['impact']}): {node['html'][:200]}" for one in bad for node in one["nodes"][:3]]
        assert not bad, f"{what}:\n" + "\n".join(told)

    def close(self):
        assert not self.complaints, self.complaints
        assert not self.foreign, self.foreign
        self.context.close()


class Stage:
    def __init__(self, options, folder, more=""):
        self.proxy = Proxy(options.binary, options.broker, folder, more)
        self.shots = pathlib.Path(options.shots)
        self.shots.mkdir(parents=True, exist_ok=True)
        self.axe = pathlib.Path(options.axe).read_text()
        self.files = options.files
        self.driver = sync_playwright().start()
        # As root, as in most containers, Chromium's sandbox does not start.
        self.browser = self.driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        self.pages = []

    def page(self, **options):
        page = Watched(self, **options)
        if self.files:
            page.page.route("**/dashboard/files/*", self.serve)
        self.pages.append(page)
        return page

    def serve(self, route):
        """The files of a folder in the place of the program's, for whoever is at work on them."""
        file = pathlib.Path(self.files) / route.request.url.rsplit("/", 1)[1]
        kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        route.fulfill(body=file.read_bytes(), content_type=kinds[file.suffix])

    def end(self):
        for page in self.pages:
            page.close()
        self.browser.close()
        self.driver.stop()
        self.proxy.end()

    def abandon(self):
        self.browser.close()
        self.driver.stop()
        self.proxy.process.kill()
        self.proxy.process.wait()


__all__ = ["Client", "PASSWORD", "Stage", "eventually", "expect", "json"]
