"""A sandbox of a test's own, the customers who write on it, and a place where webhooks arrive."""

import json
import os
import pathlib
import queue
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

# The default world of the sandbox.
NUMBER = "200000000000001"
BUSINESS = "100000000000001"
INSTAGRAM = "17841400000000001"
APP, APP_SECRET = "600000000000001", "5a17db0c5ec2e7000000000000000001"
INSTAGRAM_APP, INSTAGRAM_SECRET = "600000000000002", "5a17db0c5ec2e7000000000000000002"
TOKEN = "EAAsandboxSystemUserToken"
INSTAGRAM_TOKEN = "IGAAsandboxUserToken"
AMARA = "447700900101"

# The smallest that the sandbox takes for a picture: it looks at the type that is told, not into the file.
PICTURE = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")

# Whatever proxy there is for the rest of the world: nothing here leaves the machine.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

_ROOT = pathlib.Path(__file__).resolve().parents[4]
_PROGRAM = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", _ROOT / "target"), "debug/examples/serve")
# Nothing takes long on one machine: whoever waits for longer waits for what does not come.
_PATIENCE = 20


class Sandbox:
    """Runs until it is stopped; its input ends with it, and so does the program."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([_PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the sandbox did not start: is it built?")

    def stop(self) -> None:
        self._process.communicate()

    def control(self, method: str, path: str, body: object = None) -> dict:
        """The sandbox's own interface, which does not exist at Meta."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return json.loads(text) if text else {}

    def write(self, customer: str, account: str, **content: object) -> str:
        """A customer does something; answers the message's id."""
        return self.control("POST", f"/sandbox/customers/{customer}/threads/{account}/messages", content)["id"]

    def thread(self, customer: str, account: str) -> list[dict]:
        """What a customer's phone shows."""
        return self.control("GET", f"/sandbox/customers/{customer}/threads/{account}")["messages"]

    def customer(self, name: str) -> dict:
        return next(one for one in self.control("GET", "/sandbox/state")["customers"] if one["id"] == name)


class Update(NamedTuple):
    """A webhook as it came."""

    body: bytes
    signature: str


class Hook:
    """Where webhooks arrive. `challenge` decides about the handshake: token and challenge in, body and status out."""

    def __init__(self, challenge: Callable[[str | None, str | None], tuple[str | None, int]]) -> None:
        updates: queue.Queue[Update] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                body, status = challenge(asked.get("hub.verify_token"), asked.get("hub.challenge"))
                self._answer(status, (body or "").encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                updates.put(Update(body, self.headers["x-hub-signature-256"]))
                self._answer(200, b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._updates = updates
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def next(self) -> Update:
        """The next webhook, once it is there."""
        return self._updates.get(timeout=_PATIENCE)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
