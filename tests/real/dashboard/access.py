"""Who may see and do what, and what the page is made of."""

from stage import Client, expect, json

VIEWS = ["", "bans", "exemptions", "refused", "clients", "watch", "explain?clientid=a", "settings"]


def login(stage):
    """A wrong password says so; the right one gives a cookie that no script sees, and that no other site can use."""
    page = stage.page()
    answers = {}
    page.page.on("response", lambda answer: answers.update({answer.url: answer}))
    page.page.goto(stage.proxy.url)
    policy = answers[f"{stage.proxy.url}/dashboard/"].headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "require-trusted-types-for 'script'"):
        assert part in policy, policy
    assert "unsafe" not in policy, policy
    page.enter(password="wrong")
    expect(page.page.get_by_role("alert").filter(has_text="do not go together")).to_be_visible()
    page.shot("login")
    page.enter()
    expect(page.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    [cookie] = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/", cookie
    assert page.page.evaluate("document.cookie") == ""
    # Without the second word nothing can be changed.
    ban = {"as": "clientid", "who": "x"}
    assert page.fetch("POST", "/api/v5/banned", ban, {"x-csrf-token": "-"})[0] == 403
    assert page.fetch("POST", "/api/v5/banned", ban)[0] == 200
    # Another page at another port of this machine is the same site, and gets nowhere all the same.
    value = f"{cookie['name']}={cookie['value']}"
    for site in ("same-site", "cross-site"):
        head = {"cookie": value, "sec-fetch-site": site, "content-type": "application/json"}
        answer = page.context.request.post(f"{stage.proxy.url}/api/v5/banned", headers=head, data="{}")
        assert answer.status == 403, answer.text()
    page.page.get_by_role("button", name="Log out").click()
    expect(page.page.get_by_role("heading", name="Log in")).to_be_visible()
    # The token itself is gone, not the cookie alone.
    answer = page.context.request.get(f"{stage.proxy.url}/api/v5/status", headers={"cookie": value})
    assert answer.status == 401, answer.text()


def viewer(stage):
    """A viewer sees everything and no button that changes something; the server refuses what the page does not offer."""
    stage.proxy.command("users", "add", "eve", "--role", "viewer", "--password-file", write(stage, "eve's password"))
    stage.proxy.command("bans", "add", "clientid", "bot-1")
    client = Client(stage.proxy, "inside-1")
    assert Client(stage.proxy, "bot-1").code == 5
    page = stage.page().log_in("eve", "eve's password")
    forbidden = ["Ban…", "Import…", "Remove all…", "Edit", "Lift", "Extend", "Kick", "Forget all…", "Reload…", "Exempt…", "Remove", "Forget"]
    for view in VIEWS:
        page.view(view)
        if view in ("bans", "refused"):
            expect(page.row("bot-1")).to_be_visible()
        if view == "clients":
            expect(page.row("inside-1")).to_be_visible()
        names = page.page.get_by_role("button").evaluate_all("all => all.map(one => one.textContent)")
        assert not set(names) & set(forbidden), names
        assert page.page.get_by_role("checkbox", name="Choose").count() == 0
    for method, path, body in [
        ("POST", "/api/v5/banned", {"as": "clientid", "who": "x"}), ("DELETE", "/api/v5/banned/clientid/bot-1", None),
        ("DELETE", "/api/v5/clients/inside-1", None), ("POST", "/api/v5/reload", None), ("DELETE", "/api/v5/refused", None),
    ]:
        status, told = page.fetch(method, path, body)
        assert status == 403 and json.loads(told)["code"] == "UNAUTHORIZED_ROLE", (path, status, told)
    client.leave()


def write(stage, password):
    file = stage.proxy.folder / "eve"
    file.write_text(password)
    return file


def weight(stage):
    """All of the page weighs no more than promised, and is painted soon; the figures are told."""
    page = stage.page()
    sizes = {}
    page.page.on("response", lambda answer: sizes.update({answer.url: int(answer.headers.get("content-length", 0))}))
    page.log_in()
    page.page.locator("main .tile").first.wait_for()
    total = sum(size for url, size in sizes.items() if "/dashboard/" in url)
    assert len(sizes) > 15 and 20_000 < total <= 150 << 10, total
    painted = []
    for _ in range(5):
        page.page.reload()
        page.page.locator("main .tile").first.wait_for()
        painted.append(page.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    print(f"page weight {total} bytes, first contentful paint {sorted(round(one) for one in painted)} ms")


def document(stage):
    """The viewer of the API's document works without the internet, and with the page's login."""
    page = stage.page().log_in()
    page.page.goto(f"{stage.proxy.url}/api-docs/")
    expect(page.page.locator(".opblock-tag").filter(has_text="lists").first).to_be_visible()
    expect(page.page.locator(".opblock").first).to_be_visible()
    page.shot("api-docs")


def accessible(stage):
    """Every view and dialog, light and dark, wide and narrow: nothing serious is found, and nothing runs over the edge."""
    stage.proxy.command("bans", "add", "clientid", "bot-1", "--reason", "flooding", "--for", "7d")
    stage.proxy.command("bans", "add", "peerhost_net", "203.0.113.0/24")
    stage.proxy.command("exemptions", "add", "clientid", "gateway")
    inside = [Client(stage.proxy, f"pump-{number}", "plant") for number in range(3)]
    assert Client(stage.proxy, "bot-1").code == 5
    for name, options in [
        ("light", {"color_scheme": "light"}), ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"}),
    ]:
        page = stage.page(**options)
        page.page.goto(stage.proxy.url)
        page.page.get_by_label("User name").wait_for()
        page.axe(f"log in, {name}")
        page.enter()
        expect(page.page.get_by_role("button", name="Log out")).to_be_visible()
        for view in VIEWS:
            page.view(view)
            expect(page.page.locator(".live")).to_have_text("live")
            wanted = {"bans": "bot-1", "refused": "bot-1", "clients": "pump-0", "exemptions": "gateway"}.get(view)
            if wanted:
                expect(page.row(wanted).first).to_be_visible()
            page.axe(f"{view or 'overview'}, {name}")
            page.shot(f"{name}-{view.split('?')[0] or 'overview'}")
            over = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, f"{view}, {name}: {over} pixels too wide"
        page.view("bans")
        for opener in ("Ban…", "Import…", "Remove all…"):
            page.page.get_by_role("button", name=opener).click()
            page.dialog().wait_for()
            page.axe(f"{opener}, {name}")
            page.shot(f"{name}-dialog-{opener.strip('….').replace(' ', '-').lower()}")
            page.page.keyboard.press("Escape")
            expect(page.page.locator("dialog[open]")).to_have_count(0)
    for client in inside:
        client.leave()


def keyboard(stage):
    """Everything is reached without a mouse, the focus is never lost, and times are told in two zones."""
    page = stage.page().log_in()
    keys = page.page.keyboard
    page.page.locator("main").focus()
    for letter, title in [("b", "Bans"), ("r", "Refused clients"), ("c", "Clients inside"), ("w", "Detection"), ("e", "Explain"), ("s", "Settings")]:
        keys.press("g")
        keys.press(letter)
        expect(page.page.get_by_role("heading", name=title, level=1, exact=True)).to_be_visible()
    keys.press("g")
    keys.press("b")
    expect(page.page.get_by_role("heading", name="Bans", exact=True)).to_be_visible()
    keys.press("/")
    assert page.page.evaluate("document.activeElement.labels[0].textContent").startswith("Text")
    page.page.get_by_role("button", name="Ban…").focus()
    keys.press("Enter")
    keys.type("keyed-1")
    expect(page.page.locator("#preview")).to_contain_text("Would match 0")
    keys.press("Enter")
    page.toast("The ban holds.")
    expect(page.row("keyed-1")).to_be_visible()
    assert page.page.evaluate("document.activeElement.textContent") == "Ban…", "the focus is back where it was"
    since = page.row("keyed-1").locator("time").first
    local, both = since.text_content(), since.get_attribute("title")
    assert "UTC" in both and "local" in both and "UTC" not in local, (local, both)
    page.page.get_by_role("button", name="Local time").click()
    expect(page.row("keyed-1").locator("time").first).to_contain_text("UTC")
    # The skip link is the first thing that Tab finds.
    page.page.reload()
    expect(page.row("keyed-1")).to_be_visible()
    keys.press("Tab")
    assert page.page.evaluate("document.activeElement.className") == "skip"


FLOWS = [login, viewer, weight, document, accessible, keyboard]
