"""Who is at the door, who is inside, and what was found out."""

import json

from stage import Client, PASSWORD, eventually, expect

RTL, ZERO = "\u202egnp.exe", "pay\u200bpal"
SCRIPT = "<script>window.pwned = 1</script><img src=x onerror='window.pwned=1'>"
NAMES = [SCRIPT, RTL, ZERO, "x" * 65535, "\u05d0\u05d1\u05d2 -- \u0627\u0644", "'\"><svg/onload=alert(1)>", "a\u0301" * 60, "{{7*7}}${7*7}", " spaces  inside "]


def hostile(stage):
    """Names that strangers choose are shown, bounded, and never run; what is done to them is done to exactly them."""
    stage.proxy.command("bans", "add", "peerhost", "127.0.0.66", "--reason", SCRIPT)
    for name in NAMES:
        assert Client(stage.proxy, name, SCRIPT, source="127.0.0.66").code == 5
    inside = [Client(stage.proxy, name, RTL) for name in NAMES]
    assert all(client.code == 0 for client in inside), [client.code for client in inside]
    # Bytes that are no UTF-8 never become a name.
    Client(stage.proxy, b"\xff\xfe\xc3")
    page = stage.page().log_in()
    expect(page.page.get_by_role("heading", name="Most refused clients")).to_be_visible()
    for view in ("", "refused", "clients", "bans", "watch"):
        page.view(view)
        if view in ("refused", "clients"):
            expect(page.page.locator("tbody tr")).to_have_count(len(NAMES) + (view == "refused"))
            expect(page.page.locator(".odd").filter(has_text="U+202E").first).to_be_visible()
            expect(page.page.locator(".odd").filter(has_text="U+200B").first).to_be_visible()
            expect(page.row("<script>window.pwned").first).to_be_visible()
            longest = page.page.locator("bdi.id").evaluate_all("all => Math.max(...all.map(one => one.textContent.length))")
            assert longest < 200, longest
            over = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, over
            page.shot(f"hostile-{view}")
    assert page.page.evaluate("window.pwned") is None
    assert page.page.locator("main script, main img").count() == 0
    # The long one has room in no path, and is kicked and banned all the same.
    page.view("clients?like_clientid=xxxxxxxx")
    expect(page.page.locator("tbody tr")).to_have_count(1)
    page.page.get_by_role("button", name="Ban: ").click()
    expect(page.dialog().locator("#preview")).to_contain_text("Would match 1 of")
    page.dialog().get_by_role("button", name="Ban", exact=True).click()
    page.toast("The ban holds.")
    assert inside[3].is_out()
    page.view("bans?as=clientid")
    page.page.locator("tbody tr").get_by_role("button", name="Edit").click()
    page.dialog().get_by_label("Reason").fill("too long")
    page.dialog().get_by_role("button", name="Save").click()
    expect(page.row("too long")).to_be_visible()
    page.page.locator("tbody tr").get_by_role("button", name="Lift").click()
    page.dialog().get_by_role("button", name="Lift").click()
    page.toast("The ban is lifted.")
    # What is shown written out is banned as it is.
    page.view("clients")
    odd = page.page.locator("td[data-label=Client] .odd").filter(has_text="U+202E")
    page.page.locator("tbody tr").filter(has=odd).get_by_role("button", name="Ban: ").click()
    page.dialog().get_by_role("button", name="Ban", exact=True).click()
    page.toast("The ban holds.")
    assert inside[1].is_out()
    told = json.loads(page.fetch("GET", "/api/v5/banned?as=clientid")[1])["data"]
    assert [one["who"] for one in told] == [RTL], told
    for client in inside:
        client.leave()


def refused(stage):
    """Who is refused appears by itself, with the ban that hit; one click lifts, bans, bans the network, exempts."""
    page = stage.page().log_in(to="/dashboard/refused")
    expect(page.page.get_by_text("Nobody was turned away lately")).to_be_visible()
    stage.proxy.command("bans", "add", "clientid", "bot-1", "--reason", "flooding")
    assert Client(stage.proxy, "bot-1").code == 5
    expect(page.row("bot-1")).to_contain_text("banned")
    expect(page.row("bot-1").get_by_role("link", name="bot-1")).to_be_visible()
    page.row("bot-1").get_by_role("button", name="Exempt").click()
    expect(page.dialog().get_by_label("Whom")).to_have_value("bot-1")
    page.dialog().get_by_role("button", name="Exempt", exact=True).click()
    page.toast("The exemption holds.")
    client = Client(stage.proxy, "bot-1")
    assert client.code == 0
    client.leave()
    expect(page.row("bot-1")).to_have_count(0)
    stage.proxy.command("exemptions", "remove", "clientid", "bot-1")
    assert Client(stage.proxy, "bot-1").code == 5
    page.row("bot-1").get_by_role("button", name="Lift").click()
    page.dialog().get_by_role("button", name="Lift").click()
    page.toast("The ban is lifted.")
    assert Client(stage.proxy, "bot-1").code == 0
    stage.proxy.command("bans", "add", "username", "mallory")
    assert Client(stage.proxy, "bot-2", "mallory", source="127.0.9.7").code == 5
    page.row("bot-2").get_by_role("button", name="Ban network").click()
    expect(page.dialog().get_by_label("Whom")).to_have_value("127.0.9.0/24")
    page.dialog().get_by_role("button", name="Ban", exact=True).click()
    page.toast("The ban holds.")
    assert Client(stage.proxy, "anybody", source="127.0.9.8").code == 5
    expect(page.row("anybody")).to_contain_text("127.0.9.0/24")
    # To its cause with one click more.
    page.row("anybody").get_by_role("link", name="Explain").click()
    expect(page.page.get_by_role("heading", name="Verdict")).to_be_visible()
    expect(page.page.locator("main")).to_contain_text("127.0.9.0/24")
    page.page.go_back()
    page.row("bot-2").get_by_role("button", name="Forget").click()
    expect(page.row("bot-2")).to_have_count(0)
    page.page.get_by_role("button", name="Forget all…").click()
    page.dialog().get_by_role("button", name="Forget").click()
    expect(page.page.get_by_text("Nobody was turned away lately")).to_be_visible()


def inside(stage):
    """Who is inside is found, shown, kicked, and banned from its row."""
    clients = {name: Client(stage.proxy, name, "plant") for name in ("pump-1", "pump-2", "tv-1")}
    page = stage.page().log_in(to="/dashboard/clients")
    expect(page.page.locator("tbody tr")).to_have_count(3)
    page.page.get_by_label("Client identifier").fill("pump")
    page.page.get_by_role("button", name="Filter").click()
    expect(page.page.locator("tbody tr")).to_have_count(2)
    page.row("pump-1").get_by_role("button", name="More of").click()
    expect(page.dialog()).to_contain_text("Keep Alive")
    page.page.keyboard.press("Escape")
    page.row("pump-1").get_by_role("button", name="Kick").click()
    page.dialog().get_by_role("button", name="Kick").click()
    assert clients["pump-1"].is_out()
    expect(page.row("pump-1")).to_have_count(0)
    page.row("pump-2").get_by_role("button", name="Ban: ").click()
    page.dialog().get_by_role("button", name="Ban", exact=True).click()
    assert clients["pump-2"].is_out()
    assert Client(stage.proxy, "pump-2").code == 5
    page.page.get_by_role("button", name="Reset").click()
    expect(page.page.locator("tbody tr")).to_have_count(1)
    new = Client(stage.proxy, "late")
    expect(page.row("late")).to_be_visible()
    new.leave()
    expect(page.row("late")).to_have_count(0)
    clients["tv-1"].leave()


def flap(stage, name, times, source="127.0.0.1"):
    for _ in range(times):
        Client(stage.proxy, name, source=source).leave()


def watch(stage):
    """Who comes near a limit is seen before it is banned; each ban has its evidence, and so has what shadow mode tells."""
    page = stage.page().log_in(to="/dashboard/watch")
    expect(page.page.get_by_text("Nobody is half-way to a limit")).to_be_visible()
    flap(stage, "flapper", 6)
    near = page.page.locator("section").filter(has_text="Near a limit now")
    expect(near).to_contain_text("flapper")
    expect(near).to_contain_text("6 of 8")
    page.shot("near")
    flap(stage, "flapper", 2)
    found = page.page.locator("section").filter(has=page.page.get_by_role("heading", name="Found", exact=True))
    expect(found.locator("tbody tr").filter(has_text="flapper")).to_contain_text("banned")
    found.locator("tbody tr").filter(has_text="flapper").locator("summary").click()
    expect(found).to_contain_text("127.0.0.1")
    hour = page.page.locator("section").filter(has_text="within the last hour")
    expect(hour).to_contain_text("1 client banned")
    assert Client(stage.proxy, "flapper").code == 5
    flap(stage, "shade", 9, "127.0.0.9")
    page.view("explain?clientid=flapper")
    expect(page.page.get_by_role("heading", name="Evidence")).to_be_visible()
    expect(page.page.locator("main")).to_contain_text("refused")
    page.page.get_by_label("Client identifier").fill("nobody")
    page.page.get_by_label("Address").fill("198.51.100.1")
    page.page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.page.locator("main")).to_contain_text("let in")
    assert "clientid=nobody" in page.page.url


watch.config = """
[flapping_detect]
enable = true
max_count = 8
[detection]
learning = "0s"
patience = "100ms"
"""


def what_if(stage):
    """With everything off, whoever may look sees whom limits would have banned; what is no limit is said to be none."""
    password = stage.proxy.folder / "password-of-eve"
    password.write_text(PASSWORD)
    stage.proxy.command("users", "add", "eve", "--role", "viewer", "--password-file", password)
    flap(stage, "flapper", 6)
    flap(stage, "calm", 2, "127.0.0.9")
    page = stage.page().log_in("eve", to="/dashboard/watch")
    card = page.page.locator("section").filter(has=page.page.get_by_role("heading", name="With other limits"))
    answer = page.page.locator("#what-if")
    ask = card.get_by_role("button", name="Try these limits")
    ask.click()
    expect(answer).to_contain_text("With these limits, 0 clients would have been banned")
    card.get_by_label("What: by clientid").select_option("on")
    card.get_by_label("Events: by clientid").fill("4")
    card.get_by_label("Within: by clientid").fill("10m")

    def banned(words):
        ask.click()
        return words in answer.inner_text()

    eventually("the flapper", lambda: banned("With these limits, 1 client would have been banned"))
    expect(answer.locator("tbody tr").filter(has_text="flapper")).to_contain_text("by clientid")
    expect(answer).not_to_contain_text("calm")
    expect(answer).to_contain_text("Not more is known than since")
    page.shot("what-if")
    card.get_by_label("Events: by clientid").fill("2")
    eventually("both", lambda: banned("2 clients would have been banned"))
    card.get_by_label("Only in zone").fill("elsewhere")
    ask.click()
    expect(answer).to_contain_text("With these limits, 0 clients would have been banned")
    card.get_by_label("Within: by clientid").fill("soon")
    ask.click()
    expect(answer.get_by_role("alert")).to_contain_text("by_clientid.window_time: \"soon\" is not a duration")
    # Nothing has come of it.
    assert Client(stage.proxy, "flapper").code == 0
    # A page that does not show its second word is no page of ours.
    status = page.context.request.post(f"{stage.proxy.url}/api/v5/detections/what-if", data={}).status
    assert status == 403, status


what_if.config = """
[detection]
learning = "0s"
patience = "100ms"
"""


def settings(stage):
    """What runs, with secrets masked; what the file says differently; reloads with their mistakes."""
    page = stage.page().log_in(to="/dashboard/settings")
    expect(page.page.get_by_text("The file says what runs.")).to_be_visible()
    page.page.get_by_label("Find").fill("webhook")
    expect(page.row("webhook.secret")).to_contain_text("…")
    assert "hush-hush" not in page.page.content()
    stage.proxy.file.write_text(stage.proxy.config().replace("[node]", "[log]\nlevel = \"loud\"\n[node]"))
    page.page.get_by_role("button", name="Look again").click()
    expect(page.page.get_by_role("alert").filter(has_text="log.level")).to_be_visible()
    page.page.get_by_role("button", name="Reload…").click()
    page.dialog().get_by_role("button", name="Reload").click()
    expect(page.page.get_by_role("alert").filter(has_text="nothing has changed").first).to_be_visible()
    page.shot("reload-mistakes")
    stage.proxy.file.write_text(stage.proxy.config().replace("[upstream]", "max_connections = 77\n[upstream]"))
    page.page.get_by_role("button", name="Look again").click()
    expect(page.page.locator("main")).to_contain_text("listener.mqtt.max_connections: 100000 -> 77")
    page.page.get_by_role("button", name="Reload…").click()
    page.dialog().get_by_role("button", name="Reload").click()
    page.toast("The file is in use.")
    expect(page.page.get_by_text("The file says what runs.")).to_be_visible()
    page.page.get_by_label("Find").fill("max_connections")
    expect(page.row("listener.mqtt.max_connections")).to_contain_text("77")
    # Switched off by a reload, it is gone, and so is the feed; the API stays.
    head = {"authorization": "Bearer " + json.loads(page.fetch("POST", "/api/v5/login", {"username": "admin", "password": PASSWORD})[1])["token"]}
    ask = lambda method, path: page.context.request.fetch(stage.proxy.url + path, method=method, headers=head).status
    stage.proxy.file.write_text(stage.proxy.config().replace("password_file", "dashboard = false\npassword_file"))
    assert ask("POST", "/api/v5/reload") == 200
    for path in ("/", "/dashboard/", "/dashboard/files/app.js", "/dashboard/session", "/dashboard/feed"):
        assert ask("GET", path) == 404, path
    assert ask("GET", "/api/v5/status") == 200
    expect(page.page.locator(".live")).to_have_text("connecting…")


settings.config = """
[webhook]
url = "http://127.0.0.1:9/hook"
secret = "hush-hush"
"""


def overview(stage):
    """What happens at the door is on the page a second later, and the charts can be read and walked through."""
    stage.proxy.command("bans", "add", "clientid", "bot-1")
    page = stage.page().log_in()
    expect(page.page.locator(".live")).to_have_text("live")
    tile = lambda name: page.page.locator(".tile").filter(has_text=name).locator("dd")
    expect(tile("Live sessions")).to_have_text("0")
    inside = [Client(stage.proxy, f"pump-{number}") for number in range(4)]
    for _ in range(5):
        assert Client(stage.proxy, "bot-1").code == 5
    expect(tile("Live sessions")).to_have_text("4")
    chart = page.page.locator("svg[role=img]").first
    label = lambda: chart.get_attribute("aria-label")
    eventually("the chart", lambda: page.page.locator("polygon.f-banned").count() and page.page.locator("polygon.f-admitted").count())
    assert "Banned" in label(), label()
    chart.focus()
    page.page.keyboard.press("ArrowLeft")
    expect(page.page.locator(".readout").first).to_contain_text("Admitted")
    expect(page.page.locator("section").filter(has_text="Most refused clients")).to_contain_text("bot-1")
    expect(page.page.locator("section").filter(has_text="Active bans")).to_contain_text("clientid")
    expect(page.page.locator("section").filter(has_text="Brokers")).to_contain_text("up")
    for span in ("6 hours", "24 hours"):
        page.page.get_by_role("button", name=span).click()
        expect(page.page.get_by_role("button", name=span)).to_have_attribute("aria-pressed", "true")
    assert "span=24h" in page.page.url
    page.page.get_by_role("button", name="15 minutes").click()
    page.shot("overview")
    for client in inside:
        client.leave()
    expect(tile("Live sessions")).to_have_text("0")
    # Whoever logs out hears no more.
    told = page.context.request.get(f"{stage.proxy.url}/dashboard/session").json()
    page.context.request.delete(f"{stage.proxy.url}/dashboard/session", headers={"x-csrf-token": told["csrf"]})
    expect(page.dialog()).to_contain_text("Log in again")


FLOWS = [hostile, refused, inside, watch, what_if, settings, overview]
