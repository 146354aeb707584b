"""Drives every operation of the OpenAPI document against a running proxy, each with what it has to answer.

An operation of the document that nothing here exercises fails the run, and so does an answer whose status the document
does not declare for it.

usage: api.py --socket PATH
"""

import argparse
import http.client
import json
import re
import socket
from urllib.parse import quote


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    def __init__(self, path):
        self.path = path
        self.document = None
        self.document = self.call("GET", "/api/v5/openapi.json", 200)
        self.done = set()

    def call(self, method, path, expected, body=None, kind="application/json", accept=None, token=None):
        """Makes a call that has to be answered with this status; returns the body, JSON as what it is."""
        headers = {} if accept is None else {"accept": accept}
        if token:
            headers["authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = body if isinstance(body, (bytes, str)) else json.dumps(body)
            headers["content-type"] = kind
        connection = Connection(self.path)
        try:
            connection.request(method, path, body=data, headers=headers)
        except BrokenPipeError:
            # It has answered before it had all of the body, and does not want the rest.
            pass
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == expected, f"{method} {path}: {answer.status}, not {expected}: {text}"
        if self.document:
            self.note(method, path, str(answer.status))
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        told = json.loads(text) if is_json and text else text
        if answer.status >= 400 and path not in ("/readyz",):
            assert set(told) >= {"code", "message"} and told["message"], f"{method} {path}: {told}"
        return told

    def note(self, method, path, status):
        """Remembers that the operation was exercised, and holds its answer to the document."""
        template = self.template(method.lower(), path.split("?")[0])
        if template is None:
            return
        operation = self.document["paths"][template][method.lower()]
        assert status in operation["responses"], f"{method} {template} answers {status}, and does not say so"
        self.done.add((method.lower(), template))

    def template(self, method, path):
        """The path of the document that this one is; one without parameters comes first."""
        fits = [
            template
            for template, item in self.document["paths"].items()
            if method in item and re.fullmatch(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template)), path)
        ]
        return min(fits, key=lambda template: template.count("{"), default=None)

    def missing(self):
        methods = {"get", "head", "options", "trace", "put", "post", "delete", "patch"}
        all_operations = {
            (method, path) for path, item in self.document["paths"].items() for method in item if method in methods
        }
        return sorted(f"{method.upper()} {path}" for method, path in all_operations - self.done)


def monitoring(api):
    assert api.call("GET", "/livez", 200) == {"status": "ok"}
    assert api.call("GET", "/readyz", 200) == {"status": "ok"}
    assert api.call("GET", "/metrics", 200).endswith("# EOF\n")
    assert "# EOF" not in api.call("GET", "/metrics", 200, accept="text/plain")
    stats = api.call("GET", "/api/v5/stats", 200)
    assert stats["state"] == "running" and stats["listeners"]["mqtt"]["max_connections"] > 0
    assert api.call("GET", "/api/v5/openapi.json", 200)["openapi"].startswith("3.1")
    assert "swagger-ui" in api.call("GET", "/api-docs/", 200)
    api.call("POST", "/livez", 405)
    api.call("GET", "/nothing", 404)


def node(api):
    status = api.call("GET", "/api/v5/status", 200)
    assert status["draining"] is False and status["listeners"][0]["name"] == "mqtt", status
    config = api.call("GET", "/api/v5/config", 200)
    assert config["options"]["listener.mqtt.bind"]["source"] == "file", config
    assert api.call("GET", "/api/v5/config/diff", 200)["changes"] == []
    assert api.call("POST", "/api/v5/reload", 200)["changes"] == []


def accounts(api):
    user = {"username": "driver", "password": "a long password", "role": "viewer"}
    assert api.call("POST", "/api/v5/users", 200, user)["role"] == "viewer"
    assert api.call("POST", "/api/v5/users", 400, user)["code"] == "ALREADY_EXISTS"
    api.call("POST", "/api/v5/users", 415, "{}", "text/plain")
    assert "driver" in [one["username"] for one in api.call("GET", "/api/v5/users", 200)]
    assert api.call("PUT", "/api/v5/users/driver", 200, {"role": "administrator"})["role"] == "administrator"
    api.call("PUT", "/api/v5/users/driver", 400, ["viewer", None])
    api.call("PUT", "/api/v5/users/nobody", 404, {"role": "viewer"})
    api.call("POST", "/api/v5/users/driver/change_pwd", 204, {"new_pwd": "another password"})
    api.call("POST", "/api/v5/users/nobody/change_pwd", 404, {"new_pwd": "another password"})
    login = {"username": "driver", "password": "another password"}
    token = api.call("POST", "/api/v5/login", 200, login)["token"]
    api.call("POST", "/api/v5/login", 401, {"username": "driver", "password": "a long password"})
    api.call("POST", "/api/v5/login", 400, {"username": "driver"})
    api.call("POST", "/api/v5/logout", 204, token=token)
    api.call("DELETE", "/api/v5/users/nobody", 404)

    key = api.call("POST", "/api/v5/api_key", 200, {"name": "driver", "role": "viewer"})
    assert key["api_secret"], key
    assert api.call("POST", "/api/v5/api_key", 400, {"name": "driver"})["code"] == "ALREADY_EXISTS"
    assert [one["name"] for one in api.call("GET", "/api/v5/api_key", 200)] == ["driver"]
    assert "api_secret" not in api.call("GET", "/api/v5/api_key/driver", 200)
    assert api.call("PUT", "/api/v5/api_key/driver", 200, {"enable": False})["enable"] is False
    api.call("GET", "/api/v5/api_key/nothing", 404)
    api.call("GET", "/api/v5/api_key/%ff", 400)
    api.call("DELETE", "/api/v5/api_key/driver", 204)
    api.call("DELETE", "/api/v5/api_key/driver", 404)
    other = {"username": "other", "password": "a long password", "role": "administrator"}
    api.call("POST", "/api/v5/users", 200, other)
    api.call("DELETE", "/api/v5/users/driver", 204)
    api.call("DELETE", "/api/v5/users/other", 400)


def lists(api):
    for name in ("banned", "exemptions"):
        record = json.dumps({"as": "clientid", "who": "dri/ver ü", "until": "infinity", "reason": "api.py"})
        lines = "application/x-ndjson"
        dry = f"/api/v5/{name}/import?mode=add&dry_run=true"
        rehearsed = api.call("POST", dry, 200, record, lines)
        made = api.call("POST", f"/api/v5/{name}/import?mode=add", 200, record, lines)
        assert rehearsed == {**made, "records": 1, "mistakes": [], "mistakes_in_all": 0}, rehearsed
        again = api.call("POST", dry, 200, record, lines)
        assert "on the list already" in again["mistakes"][0], again
        assert made == {"added": 1, "changed": 0}, made
        fault = api.call("POST", f"/api/v5/{name}/import?mode=add", 400, record, lines)
        assert fault["code"] == "ALREADY_EXISTS", fault
        assert api.call("POST", f"/api/v5/{name}/import?mode=put", 200, record, lines)["changed"] == 1
        api.call("POST", f"/api/v5/{name}/import?mode=none", 400, record, lines)
        tried = api.call("POST", f"/api/v5/{name}/import?mode=add&dry_run=true", 200, record, lines)
        assert (tried["records"], tried["mistakes_in_all"], len(tried["mistakes"])) == (1, 1, 1), tried
        api.call("POST", f"/api/v5/{name}/import?mode=put", 400, b"\xff{", lines)
        who = quote("dri/ver ü", safe="")
        assert api.call("DELETE", f"/api/v5/{name}/clientid/{who}", 204) == ""
        api.call("DELETE", f"/api/v5/{name}/clientid/{who}", 404)
        api.call("DELETE", f"/api/v5/{name}/nothing/{who}", 400)
        api.call("POST", f"/api/v5/{name}/import?mode=put", 200, record, lines)
        api.call("POST", f"/api/v5/{name}/remove", 204, {"as": "clientid", "who": "dri/ver ü"})
        api.call("POST", f"/api/v5/{name}/remove", 404, {"as": "clientid", "who": "dri/ver ü"})
        api.call("POST", f"/api/v5/{name}/remove", 400, {"as": "clientid"})
        api.call("POST", f"/api/v5/{name}/remove", 400, "{")
        api.call("POST", f"/api/v5/{name}/remove", 415, "{}", "text/plain")
        api.call("DELETE", f"/api/v5/{name}", 204)
    api.call("DELETE", "/api/v5/nothing", 404)


def rules(api):
    """The lists as EMQX has them, and what it has not."""
    for name in ("banned", "exemptions"):
        rule = {"as": "clientid", "who": "a/b c", "by": "api.py", "reason": "driven", "until": "2099-01-01T00:00:00+00:00"}
        made = api.call("POST", f"/api/v5/{name}", 200, rule)
        assert {field: made[field] for field in rule} == rule and set(made) == {*rule, "at"}, made
        assert api.call("POST", f"/api/v5/{name}", 400, rule)["code"] == "ALREADY_EXISTS"
        api.call("POST", f"/api/v5/{name}", 400, rule | {"until": "2001-01-01T00:00:00Z"})
        api.call("POST", f"/api/v5/{name}", 400, rule | {"what": 1})
        api.call("POST", f"/api/v5/{name}", 400, {"as": "peerhost", "who": "nowhere"})
        api.call("POST", f"/api/v5/{name}", 415, "{}", "text/plain")
        page = api.call("GET", f"/api/v5/{name}?clientid={quote('a/b c', safe='')}", 200)
        assert page == {"data": [made], "meta": {"page": 1, "limit": 100, "count": 1, "hasnext": False}}, page
        api.call("GET", f"/api/v5/{name}?limit=0", 400)
        api.call("GET", f"/api/v5/{name}?like_clientid=(", 400)
        api.call("GET", f"/api/v5/{name}?nothing=1", 400)
        path = f"/api/v5/{name}/clientid/{quote('a/b c', safe='')}"
        found = api.call("GET", path, 200)
        assert found["status"] == "active" and found.get("hits", 0) == 0, found
        assert api.call("PUT", path, 200, {"reason": "changed", "until": "infinity"})["until"] == "infinity"
        preview = api.call("POST", f"/api/v5/{name}/preview", 200, {"as": "clientid_re", "who": "^a"})
        assert (preview["matches"], preview["inside"], preview["exists"]) == (0, 0, False), preview
        api.call("POST", f"/api/v5/{name}/preview", 400, {"as": "clientid_re", "who": "("})
        assert api.call("GET", f"/api/v5/{name}?who=a/b+c", 200)["data"][0]["who"] == "a/b c"
        assert api.call("GET", f"/api/v5/{name}?like_who=%5Ea/", 200)["data"][0]["who"] == "a/b c"
        api.call("GET", f"/api/v5/{name}?like_who=(", 400)
        api.call("GET", f"/api/v5/{name}?who=x&like_who=x", 400)
        until = {"until": "2098-01-01T00:00:00+00:00"}
        assert api.call("PATCH", path, 200, until)["reason"] == "changed"
        extended = api.call("PATCH", path, 200, {"extend": "1h"})
        assert extended["until"] == "2098-01-01T01:00:00+00:00", extended
        api.call("PATCH", path, 400, {"extend": "for ever"})
        api.call("PUT", f"/api/v5/{name}/nothing/x", 400, {})
        several = [{"as": "username", "who": "u"}, {"as": "peerhost_net", "who": "192.0.2.77/24"}]
        assert api.call("POST", f"/api/v5/{name}/bulk", 200, several)["added"] == 2
        api.call("POST", f"/api/v5/{name}/bulk", 400, [{"as": "username", "who": "v"}, {"as": "username"}])
        exported = api.call("GET", f"/api/v5/{name}/export?format=jsonl", 200)
        assert sorted(json.loads(line)["who"] for line in exported.splitlines()) == ["192.0.2.0/24", "a/b c", "u"]
        api.call("GET", f"/api/v5/{name}/export?format=none", 400)
        api.call("DELETE", path, 204)
        api.call("GET", path, 404)
        api.call("PATCH", path, 404, until)
        assert api.call("DELETE", path, 404)["code"] == "NOT_FOUND"
        api.call("DELETE", f"/api/v5/{name}", 204)
        assert api.call("GET", f"/api/v5/{name}", 200)["data"] == []
    api.call("GET", "/api/v5/nothing", 404)


def emqx_4(api):
    made = api.call("POST", "/api/v4/banned", 200, {"as": "clientid", "who": "old"})
    assert made["code"] == 0, made
    assert api.call("POST", "/api/v4/banned", 200, {"who": "old"})["code"] == 107
    page = api.call("GET", "/api/v4/banned?_page=1&_limit=10", 200)
    assert page["code"] == 0 and page["data"][0]["who"] == "old" and page["meta"]["count"] == 1, page
    for _ in range(2):
        assert api.call("DELETE", "/api/v4/banned/clientid/old", 200) == {"code": 0}
    assert api.call("GET", "/api/v4/banned", 200)["data"] == []


def clients(api):
    page = api.call("GET", "/api/v5/clients?limit=5&sort=clientid&order=desc", 200)
    assert page == {"data": [], "meta": {"page": 1, "limit": 5, "count": 0, "hasnext": False}}, page
    api.call("GET", "/api/v5/clients?who=x", 400)
    api.call("GET", "/api/v5/clients?clientid=%ff", 400)
    for method in ("GET", "DELETE"):
        assert api.call(method, "/api/v5/clients/x%2Fy", 404)["code"] == "CLIENTID_NOT_FOUND"
        api.call(method, "/api/v5/clients/%ff", 400)
    assert api.call("POST", "/api/v5/clients/kickout/bulk", 204, ["x", "y"]) == ""
    api.call("POST", "/api/v5/clients/kickout/bulk", 400, {"x": 1})
    api.call("POST", "/api/v5/clients/kickout/bulk", 415, "[]", "text/plain")


def refused(api):
    page = api.call("GET", "/api/v5/refused?password=true&sort=count", 200)
    assert page == {"data": [], "meta": {"page": 1, "limit": 100, "count": 0, "hasnext": False}}, page
    api.call("GET", "/api/v5/refused?ja4=t13d1516h2_8daaf6152771_02713d6af862&via=10.0.0.1", 200)
    api.call("GET", "/api/v5/refused?via=perhaps", 400)
    api.call("GET", "/api/v5/refused?tls=perhaps", 400)
    top = api.call("GET", "/api/v5/refused/top?limit=3", 200)
    assert top == {"clients": [], "addresses": [], "networks": []}, top
    api.call("GET", "/api/v5/refused/top?limit=0", 400)
    api.call("DELETE", "/api/v5/refused/1", 404)
    api.call("DELETE", "/api/v5/refused/x", 400)
    assert api.call("DELETE", "/api/v5/refused", 204) == ""


def upstreams(api):
    groups = api.call("GET", "/api/v5/upstreams", 200)["data"]
    [group] = [one for one in groups if one["name"] == "default"]
    [server] = group["servers"]
    assert server["state"] == "active" and server["usable"] and server["connections"] == 0, server
    path = f"/api/v5/upstreams/default/{quote(server['server'], safe='')}"
    drained = api.call("POST", f"{path}/drain", 200)
    assert drained["state"] == "drain" and not drained["usable"], drained
    assert api.call("GET", "/readyz", 503)["reason"] == "no_upstream"
    assert api.call("POST", f"{path}/resume", 200)["state"] == "active"
    assert api.call("GET", "/readyz", 200) == {"status": "ok"}
    for wrong in ("default/nowhere%3A1", "nothing/x"):
        for word in ("drain", "resume"):
            api.call("POST", f"/api/v5/upstreams/{wrong}/{word}", 404)
            api.call("POST", f"/api/v5/upstreams/%ff/x/{word}", 400)


def explain(api):
    asked = {"clientid": "x", "username": "y", "peer": "192.0.2.1"}
    assert api.call("POST", "/api/v5/explain", 200, asked)["verdict"] == "admit"
    assert api.call("GET", "/api/v5/explain?clientid=x&peer=192.0.2.1", 200)["verdict"] == "admit"
    told = api.call("GET", "/api/v5/explain?clientid=x&peer=192.0.2.1&protocol=5&listener=mqtt", 200)
    assert (told["upstream"], told["route"]) == ("default", None), told
    api.call("GET", "/api/v5/explain?clientid=x&peer=192.0.2.1&protocol=4", 400)
    api.call("GET", "/api/v5/explain?clientid=x", 400)
    api.call("GET", "/api/v5/explain?clientid=%ff&peer=192.0.2.1", 400)
    api.call("GET", "/api/v5/explain?clientid=%zz&peer=192.0.2.1", 400)
    api.call("POST", "/api/v5/explain", 400, {"peer": "nobody"})
    api.call("POST", "/api/v5/explain", 415, json.dumps(asked), "text/plain")
    api.call("POST", "/api/v5/explain", 413, b'"' + b"x" * 3_000_000 + b'"')


def detections(api):
    assert isinstance(api.call("GET", "/api/v5/detections", 200)["data"], list)
    watched = api.call("GET", "/api/v5/detections/watch?limit=5", 200)
    assert watched["data"] == [] and watched["last_hour"]["by_clientid"] == {"banned": 0, "would_ban": 0}, watched
    api.call("GET", "/api/v5/detections/watch?limit=x", 400)
    wish = {"detectors": {"by_clientid": {"max_count": 3, "window_time": "1m"}, "malformed": None}}
    told = api.call("POST", "/api/v5/detections/what-if", 200, wish)
    assert told["would_ban"] == len(told["data"]) and not told["complete"], told
    api.call("POST", "/api/v5/detections/what-if", 400, {"detectors": {"nobody": {}}})
    assert api.call("GET", "/api/v5/history?span=6h", 200)["step_seconds"] == 120
    api.call("GET", "/api/v5/history?span=1h", 400)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    api = Api(parser.parse_args().socket)
    for topic in (monitoring, node, accounts, lists, rules, emqx_4, clients, refused, upstreams, explain, detections):
        topic(api)
        print(f"{topic.__name__}: as documented")
    missing = api.missing()
    assert not missing, f"nothing here drives {missing}"
    print(f"{len(api.done)} operations were driven")


if __name__ == "__main__":
    main()
