"""What goes wrong while somebody is at the page: nothing breaks, and nothing is lost silently."""

import signal

from lists import fill_ban
from stage import expect


def expired(stage):
    """The login ends while a form is open: it is asked for again, and the form is saved as it was typed."""
    page = stage.page().log_in(to="/dashboard/bans")
    dialog = fill_ban(page, "Client identifier", "typed-before", "kept", "1 d")
    told = page.context.request.get(f"{stage.proxy.url}/dashboard/session").json()
    gone = page.context.request.delete(f"{stage.proxy.url}/dashboard/session", headers={"x-csrf-token": told["csrf"]})
    assert gone.status == 204
    dialog.get_by_role("button", name="Ban", exact=True).click()
    again = page.dialog()
    expect(again).to_contain_text("What you have typed is still here")
    page.shot("login-again")
    page.enter(password="wrong")
    expect(again.get_by_role("alert")).to_contain_text("do not go together")
    page.enter()
    page.toast("The ban holds.")
    expect(page.row("typed-before")).to_contain_text("kept")


def two_operators(stage):
    """Two edit one ban: who saves second is told, loses nothing that was typed, and decides."""
    stage.proxy.command("bans", "add", "clientid", "bot-1", "--reason", "old")
    one, two = (stage.page().log_in(to="/dashboard/bans") for _ in range(2))
    for page in (one, two):
        page.row("bot-1").get_by_role("button", name="Edit").click()
        expect(page.dialog().get_by_label("Reason")).to_have_value("old")
    one.dialog().get_by_label("Reason").fill("of the first")
    one.dialog().get_by_role("button", name="Save").click()
    expect(one.row("bot-1")).to_contain_text("of the first")
    two.dialog().get_by_label("Reason").fill("of the second")
    two.dialog().get_by_role("button", name="Save").click()
    clash = two.dialog().get_by_role("alert").filter(has_text="Somebody else has changed")
    expect(clash).to_contain_text("of the first")
    expect(two.dialog().get_by_label("Reason")).to_have_value("of the second")
    two.shot("two-operators")
    assert "of the first" in stage.proxy.command("bans", "show", "clientid", "bot-1")
    two.dialog().get_by_role("button", name="Save").click()
    expect(two.row("bot-1")).to_contain_text("of the second")
    # One lifts it while the other edits it.
    one.page.reload()
    one.row("bot-1").get_by_role("button", name="Edit").click()
    one.dialog().wait_for()
    two.row("bot-1").get_by_role("button", name="Lift").click()
    two.dialog().get_by_role("button", name="Lift").click()
    two.toast("The ban is lifted.")
    one.dialog().get_by_label("Reason").fill("late")
    one.dialog().get_by_role("button", name="Save").click()
    expect(one.dialog().get_by_role("alert")).to_contain_text("Somebody has removed this ban meanwhile")
    expect(one.dialog().get_by_label("Reason")).to_have_value("late")


def restarted(stage):
    """The proxy ends and comes back under an open page: the page says so, and goes on where it was."""
    page = stage.page().log_in(to="/dashboard/bans")
    expect(page.page.locator(".live")).to_have_text("live")
    dialog = fill_ban(page, "Client identifier", "over-the-restart", "kept", "1 d")
    stage.proxy.end(signal.SIGKILL)
    expect(page.page.locator("#banner")).to_contain_text("The proxy does not answer")
    dialog.get_by_role("button", name="Ban", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("the proxy does not answer; whether this was done is not known")
    stage.proxy.start()
    # All logins have ended with the process.
    expect(page.dialog()).to_contain_text("Log in again")
    page.enter()
    expect(page.page.locator("#banner")).to_be_empty()
    expect(page.page.locator(".live")).to_have_text("live")
    expect(dialog.get_by_label("Whom")).to_have_value("over-the-restart")
    page.dialog().get_by_role("button", name="Ban", exact=True).click()
    page.toast("The ban holds.")
    expect(page.row("over-the-restart")).to_be_visible()


FLOWS = [expired, two_operators, restarted]
