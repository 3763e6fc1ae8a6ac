"""A service with an HTTP check, and a watched key, through the library py-consul."""

import http.server
import os
import threading
import time
import urllib.parse

import consul

NAME = "client-python"
KEY = "clients/python"
SECONDS_MAX = 20


class Target(http.server.BaseHTTPRequestHandler):
    """What the check asks; answers with whatever status it is told to."""

    status = 200

    def do_GET(self):
        self.send_response(Target.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def until(what, ask, is_there):
    """Follows a blocking query until it shows what is waited for."""
    index, end = None, time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        index, answer = ask(index)
        if is_there(answer):
            return answer
    raise SystemExit(f"no {what} after {SECONDS_MAX} s, but {answer!r}")


def main():
    agent = urllib.parse.urlsplit("//" + os.environ["CONSUL_HTTP_ADDR"])
    client = consul.Consul(host=agent.hostname, port=agent.port)
    target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, daemon=True).start()

    url = f"http://127.0.0.1:{target.server_port}/"
    check = consul.Check.http(url, "1s", timeout="1s")
    port = target.server_port
    assert client.agent.service.register(NAME, service_id=NAME, port=port, tags=["v1"], check=check)

    def checks(index):
        return client.health.checks(NAME, index=index, wait="2s")

    def becomes(status):
        until(status, checks, lambda rows: [row["Status"] for row in rows] == [status])

    becomes("passing")
    Target.status = 500
    becomes("critical")
    assert client.health.service(NAME, passing=True)[1] == []
    Target.status = 200
    becomes("passing")
    (instance,) = client.health.service(NAME, passing=True)[1]
    assert (instance["Service"]["Port"], instance["Service"]["Tags"]) == (port, ["v1"])

    index, nothing = client.kv.get(KEY)
    assert nothing is None
    writer = threading.Thread(target=lambda: client.kv.put(KEY, "changed"))
    writer.start()
    entry = until(
        "change of the key",
        lambda seen: client.kv.get(KEY, index=seen or index, wait="10s"),
        lambda entry: entry is not None,
    )
    writer.join()
    assert entry["Value"] == b"changed", entry
    assert client.kv.delete(KEY)

    assert client.agent.service.deregister(NAME)
    assert NAME not in client.agent.services()


main()
