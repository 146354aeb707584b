"""The lists: made, found, changed, taken in and out."""

import json
import re

from stage import Client, eventually, expect

# Each of EMQX's and TBMQ's kinds, whom of three inside it names, and how it is written then.
KINDS = [
    ("Client identifier", "pump-1", 1, None), ("User name", "plant", 2, None), ("Address", "127.0.0.1", 3, None),
    ("Network", "127.0.0.1/8", 3, "127.0.0.0/8"), ("Client identifiers (pattern)", "^pump-[12]$", 2, None),
    ("User names (pattern)", "^pl", 2, None), ("Addresses (pattern)", r"^127\.", 3, None),
]


def fill_ban(page, kind, who, reason="", ends=None):
    page.page.get_by_role("button", name="Ban…", exact=True).click()
    dialog = page.dialog()
    dialog.get_by_label("Kind").select_option(label=kind)
    dialog.get_by_label("Whom").fill(who)
    dialog.get_by_label("Reason").fill(reason)
    if ends:
        dialog.get_by_role("button", name=ends, exact=True).click()
    return dialog


def create(stage):
    """Each kind of ban says whom it would be about, and what is wrong with it, before it is made."""
    inside = [Client(stage.proxy, "pump-1", "plant"), Client(stage.proxy, "pump-2", "plant"), Client(stage.proxy, "tv")]
    page = stage.page().log_in(to="/dashboard/bans")
    expect(page.page.get_by_text("Nobody is banned")).to_be_visible()
    for kind, who, matches, canonical in KINDS:
        dialog = fill_ban(page, kind, who)
        expect(dialog.locator("#preview")).to_contain_text(f"Would match {matches} of the 3 clients inside now")
        if canonical:
            expect(dialog.locator("#preview")).to_contain_text(canonical)
        page.page.keyboard.press("Escape")
    for kind, who, problem in [("Client identifiers (pattern)", "bot-(", "unclosed group"), ("Network", "10.0.0.0/33", "network"), ("Address", "somewhere", "address")]:
        dialog = fill_ban(page, kind, who)
        expect(dialog.locator("#preview .error")).to_contain_text(re.compile(problem, re.I))
        dialog.get_by_role("button", name="Ban", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text(re.compile(problem, re.I))
        page.page.keyboard.press("Escape")
    for name, ends, until in [("a", "5 min", r"in (4|5) min"), ("b", "1 h", r"in (59 min|1 h)"), ("c", "1 d", r"in (23 h|1 d)"), ("d", "7 d", r"in (6|7) d"), ("e", "30 d", r"in (29|30) d"), ("f", "Never", "never")]:
        fill_ban(page, "Client identifier", f"short-{name}", "for a while", ends).get_by_role("button", name="Ban", exact=True).click()
        expect(page.row(f"short-{name}")).to_contain_text(re.compile(until))
        expect(page.row(f"short-{name}")).to_contain_text("active")
    # What is there already is not made again, and the form stays.
    dialog = fill_ban(page, "Client identifier", "short-a", "mine")
    expect(dialog.locator("#preview")).to_contain_text("on the list already")
    dialog.get_by_role("button", name="Ban", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is such a ban already, by admin")
    expect(dialog.get_by_label("Reason")).to_have_value("mine")
    page.page.keyboard.press("Escape")
    # It holds: who is banned is not let in, and the table counts it.
    assert Client(stage.proxy, "short-f").code == 5
    eventually("the hit", lambda: (page.page.reload(), page.row("short-f").wait_for(), "1" in page.row("short-f").locator("td[data-label=Hits]").text_content())[-1])
    for client in inside:
        client.leave()


def change(stage):
    """Edit, extend, lift; several at once; all, with a word that is typed."""
    page = stage.page().log_in(to="/dashboard/bans")
    for name in "abcdef":
        fill_ban(page, "Client identifier", f"bot-{name}", "old", "1 h").get_by_role("button", name="Ban", exact=True).click()
        expect(page.row(f"bot-{name}")).to_be_visible()
    page.row("bot-a").get_by_role("button", name="Edit").click()
    page.dialog().get_by_label("Reason").fill("new words")
    page.dialog().get_by_role("button", name="7 d", exact=True).click()
    page.dialog().get_by_role("button", name="Save").click()
    expect(page.row("bot-a")).to_contain_text("new words")
    expect(page.row("bot-a")).to_contain_text(re.compile("in (6|7) d"))
    page.row("bot-b").get_by_role("button", name="Extend").click()
    page.dialog().get_by_label("By").select_option("1d")
    page.dialog().get_by_role("button", name="Extend").click()
    expect(page.row("bot-b")).to_contain_text("in 1 d")
    page.row("bot-c").get_by_role("button", name="Lift").click()
    page.dialog().get_by_role("button", name="Lift").click()
    expect(page.row("bot-c")).to_have_count(0)
    assert Client(stage.proxy, "bot-c").code == 0
    for name in "de":
        page.page.get_by_role("checkbox", name=f"Choose bot-{name}").check()
    page.page.get_by_role("button", name="Remove…", exact=True).click()
    page.dialog().get_by_role("button", name="Remove").click()
    page.toast("2 bans removed")
    expect(page.row("bot-d")).to_have_count(0)
    page.page.get_by_role("checkbox", name="Choose all rows").check()
    expect(page.page.get_by_text("3 chosen")).to_be_visible()
    page.page.get_by_role("button", name="Choose none").click()
    page.page.get_by_role("button", name="Remove all…").click()
    yes = page.dialog().get_by_role("button", name="Remove all")
    expect(yes).to_be_disabled()
    page.dialog().get_by_label("Type lift all bans").fill("lift all")
    expect(yes).to_be_disabled()
    page.dialog().get_by_label("Type lift all bans").fill("lift all bans")
    yes.click()
    expect(page.page.get_by_text("Nobody is banned")).to_be_visible()
    assert Client(stage.proxy, "bot-a").code == 0


def find(stage):
    """Filters, orders and pages stand in the address, and the address shows the same to whoever is given it."""
    ban = lambda kind, who, **more: json.dumps({"as": kind, "who": who, "by": more.pop("by", "ops"), "reason": more.pop("reason", ""), **more})
    lines = [ban("clientid", f"dev-{number:03}", reason=f"r{number % 3}") for number in range(120)]
    lines += [ban("peerhost_net", "192.0.2.0/24"), ban("clientid_re", "^x.*y$"), ban("username", "dev-007"), ban("clientid", "ends", until="2099-01-01T00:00:00Z")]
    file = stage.proxy.folder / "bans.jsonl"
    file.write_text("\n".join(lines))
    stage.proxy.command("bans", "import", str(file))
    stage.proxy.command("bans", "add", "clientid", "soon", "--for", "30m")
    page = stage.page().log_in(to="/dashboard/bans?sort=who")
    rows = page.page.locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(page.page.get_by_text("125 in all")).to_be_visible()
    name = rows.first.locator("td[data-label=Who]")
    first = name.text_content()
    page.page.get_by_role("button", name="Next", exact=True).click()
    expect(name).not_to_have_text(first)
    page.page.get_by_role("button", name="Next", exact=True).click()
    expect(rows).to_have_count(25)
    page.page.go_back()
    expect(rows).to_have_count(50)
    page.page.get_by_role("button", name="First page").click()
    expect(name).to_have_text(first)
    for params, expected in [
        ("text=dev-007", 2), ("text=dev-007&as=clientid", 1), ("text=DEV-00", 11), ("text=dev-00&mode=exact", 0), ("text=dev-007&mode=exact", 2),
        ("text=192.0.2.9/24&mode=exact", 1), ("text=^dev-00[1-3]$&mode=regex", 3), ("as=peerhost_net", 1), ("ends=1h", 1), ("ends=never&as=clientid_re", 1), ("status=expired", 0), ("source=file", 0),
    ]:
        page.view("bans?" + params.replace("^", "%5E").replace("+", "%2B"))
        if expected:
            expect(rows).to_have_count(expected)
        else:
            expect(page.page.get_by_text("Nothing fits this filter")).to_be_visible()
    page.view("bans?text=(&mode=regex")
    expect(page.page.get_by_role("alert").filter(has_text="not a usable pattern")).to_be_visible()
    # By hand, and then given to somebody else.
    page.view("bans")
    page.page.get_by_label("Text").fill("^dev-0")
    page.page.get_by_label("How").select_option("regex")
    page.page.locator("thead button").filter(has_text="Who").click()
    expect(page.page.locator("th[aria-sort=ascending]")).to_have_text("Who")
    page.page.locator("thead button").filter(has_text="Who").click()
    expect(rows.first).to_contain_text("dev-099")
    assert page.page.locator("th[aria-sort=descending]").text_content() == "Who"
    other = stage.page().log_in()
    other.page.goto(page.page.url)
    expect(other.page.locator("tbody tr").first).to_contain_text("dev-099")
    expect(other.page.get_by_label("Text")).to_have_value("^dev-0")


def exchange(stage):
    """A dry run tells what would come of a file before it is taken in; what is exported is what was there."""
    page = stage.page().log_in(to="/dashboard/bans")

    def offer(name, text):
        page.page.get_by_role("button", name="Import…").click()
        page.dialog().get_by_label("File to import").set_input_files({"name": name, "mimeType": "text/plain", "buffer": text.encode()})
        return page.dialog()

    dialog = offer("bad.csv", "as,who,reason,at,until,by\nclientid,good,,,infinity,x\npeerhost,nowhere,,,infinity,x\nclientid_re,(,,,infinity,x\n")
    expect(dialog.get_by_text("cannot be taken in")).to_be_visible()
    expect(dialog.locator("ul.error li")).to_have_count(2)
    expect(dialog.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    page.shot("import-mistakes")
    page.page.keyboard.press("Escape")
    dialog = offer("good.csv", "as,who,reason,at,until,by\nclientid,imported-1,,,infinity,x\npeerhost,192.0.2.1,,,infinity,x\n")
    expect(dialog.get_by_text("2 records: 2 new, 0 changed")).to_be_visible()
    assert page.page.locator("tbody tr").count() == 0, "a dry run changes nothing"
    dialog.get_by_role("button", name="Import", exact=True).click()
    page.toast("2 added, 0 changed.")
    expect(page.row("imported-1")).to_be_visible()
    # Dropped on it, as a plain list.
    page.page.get_by_role("button", name="Import…").click()
    page.dialog().locator(".drop").wait_for()
    page.page.evaluate("""() => {
      const data = new DataTransfer();
      data.items.add(new File(["dropped-1\\ndropped-2\\nimported-1\\n"], "names.txt"));
      document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    expect(page.dialog().get_by_text("3 records: 2 new")).to_be_visible()
    page.dialog().get_by_role("button", name="Import", exact=True).click()
    expect(page.row("dropped-2")).to_be_visible()
    with page.page.expect_download() as download:
        page.page.get_by_role("link", name="Export").click()
    exported = [json.loads(line) for line in open(download.value.path())]
    assert {one["who"] for one in exported} == {"imported-1", "192.0.2.1", "dropped-1", "dropped-2"}, exported
    page.view("bans?text=dropped")
    with page.page.expect_download() as download:
        page.page.get_by_role("link", name="Export").click()
    assert len(open(download.value.path()).readlines()) == 2


FLOWS = [create, change, find, exchange]
