"""A back end that takes commands from Eventwire and answers them with events. Standard library only.

    python3 backend.py feed                      reads GET /v1/commands
    python3 backend.py webhook PORT SECRET_FILE  is called by eventwire serve --commands-webhook http://127.0.0.1:PORT/

It echoes chat turns of Monadic Chat and pretends to start workflows of ADW. A page that opens or asks anew is answered with
apps, parameters and messages every time: a gateway that was restarted has none of them. EVENTWIRE_URL says where the server is,
EVENTWIRE_TOKEN is an API key with the permissions publish and commands, where one is needed.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BASE = os.environ.get("EVENTWIRE_URL", "http://127.0.0.1:4800").rstrip("/")
TOLERANCE_SECONDS = 300
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_url(path, body=None, content_type="application/json", timeout=10):
    """Sends a request; POST when there is a body."""
    headers = {"Content-Type": content_type} if body is not None else {}
    if os.environ.get("EVENTWIRE_TOKEN"):
        headers["Authorization"] = f"Bearer {os.environ['EVENTWIRE_TOKEN']}"
    return OPENER.open(urllib.request.Request(BASE + path, data=body, headers=headers), timeout=timeout)


def publish(command, events):
    """Publishes events in order. Their ids make a second delivery of the same command harmless."""
    lines = [json.dumps({**event, "id": f"{command['id']}.{at}"}) for at, event in enumerate(events)]
    try:
        open_url("/v1/events", "\n".join(lines).encode(), "application/x-ndjson").close()
    except urllib.error.HTTPError as error:
        # 422: none of them was taken. Sending them again would not help, so the command counts as done.
        if error.code != 422:
            raise


# What this application keeps of each session: parameters and messages. A real one keeps it in its database.
SESSIONS = {}
APPS = {"Echo": {"display_name": "Echo", "group": "Examples"}}


def kept(session):
    """What is kept of a session."""
    return SESSIONS.setdefault(session, {"parameters": {}, "messages": []})


def standing(session):
    """How a session stands, for its pages: messages also when there are none, for unknown is not empty."""
    known = kept(session)
    events = [{"type": "chat.apps", "to": session, "data": {"apps": APPS, "version": "1.0.0", "docker": False}}]
    if known["parameters"]:
        events.append({"type": "chat.parameters", "to": session, "data": {"parameters": known["parameters"]}})
    past = {"messages": known["messages"], "from_initial_load": True}
    return events + [{"type": "chat.past_messages", "to": session, "data": past}]


# The turns that go on, by the id of their command: set when they are cancelled.
RUNNING = {}


def handle(command):
    """What this application does with a command."""
    cancelled = RUNNING.setdefault(command["id"], threading.Event())
    try:
        answer(command, cancelled)
    finally:
        RUNNING.pop(command["id"], None)


def answer(command, cancelled):
    """Answers a command, unless that is cancelled meanwhile."""
    own = f"connection:{command['connection_id']}"
    session = f"session:{command['session_id']}" if "session_id" in command else own
    data = command["data"]
    if command["name"] == "CHAT":
        text = f"You said: {data.get('message', '')}"
        said = {"html": "", "lang": "en", "app_name": "Echo", "active": True}
        question = {"mid": f"{command['id']}.q", "role": "user", "text": data.get("message", ""), **said}
        message = {"mid": command["id"], "role": "assistant", "text": text, **said}
        # One fragment here; between the fragments of a long answer, look again.
        if cancelled.is_set():
            return
        messages = kept(session)["messages"]
        # The same command may come twice.
        if all(said["mid"] != message["mid"] for said in messages):
            messages += [question, message]
        publish(
            command,
            [
                {"type": "chat.user", "to": session, "data": {"message": question}},
                {"type": "chat.fragment", "to": session, "data": {"content": text, "sequence": 0, "is_first": True}},
                {"type": "chat.streaming_complete", "to": session, "data": {}},
                {"type": "chat.turn_finished", "to": session, "data": {"finish_reason": "stop"}},
                {"type": "chat.html", "to": session, "data": {"message": message}},
            ],
        )
    elif command["name"] == "CHECK_TOKEN":
        verified = {"token": "", "content": "Connected", "ai_user_initial_prompt": ""}
        publish(command, [{"type": "chat.token_verified", "to": own, "data": verified}] + standing(session))
    elif command["name"] == "LOAD":
        publish(command, standing(session))
    elif command["name"] == "UPDATE_PARAMS":
        kept(session)["parameters"].update(data.get("params", {}))
    elif command["name"] == "RESET":
        SESSIONS.pop(session, None)
    elif command["name"] == "DELETE":
        known = kept(session)
        known["messages"] = [said for said in known["messages"] if said["mid"] != data.get("mid")]
    elif command["name"] == "CANCEL":
        # Exactly these: a turn that is newer than the cancellation is not among them.
        for identity in command.get("cancels", {}).get("in_work", []):
            RUNNING.get(identity, threading.Event()).set()
        publish(command, [{"type": "chat.cancel", "to": session, "data": {}}])
    elif command["name"] == "trigger_workflow":
        run = {"adw_id": data.get("adw_id", "29fb6a3e"), "workflow_name": data.get("workflow_type")}
        accepted = {"status": "accepted", "message": "Started", **run}
        publish(
            command,
            [
                {"type": "adw.trigger_response", "to": own, "data": accepted},
                {
                    "type": "adw.workflow_phase_transition",
                    "to": f"adw:{run['adw_id']}",
                    "data": {"phase_to": "plan", **run},
                },
            ],
        )


def carry_out(command):
    """Handles a command and acknowledges it. What fails is not acknowledged, and comes again."""
    try:
        handle(command)
        done = f"/v1/commands/{urllib.parse.quote(command['id'], safe='')}/ack?group=default"
        open_url(done, b"").close()
    except Exception as error:  # pylint: disable=broad-except
        print(error, file=sys.stderr)


def read_feed():
    """Reads commands, each in a thread of its own: a later CANCEL comes while another goes on."""
    while True:
        try:
            # A comment comes every 15 seconds, so a minute of silence means that nobody is there.
            with open_url("/v1/commands?group=default", timeout=60) as stream:
                print("reading", flush=True)
                for line in stream:
                    if line.startswith(b"data: "):
                        threading.Thread(target=carry_out, args=(json.loads(line[6:]),), daemon=True).start()
        except OSError as error:
            print(error, file=sys.stderr)
        time.sleep(1)


def is_ours(secret, headers, body):
    """Whether a request was signed with the secret, a moment ago."""
    identity, timestamp = headers.get("Eventwire-Id", ""), headers.get("Eventwire-Timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{identity}.{timestamp}.".encode() + body
    expected = "v1=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("Eventwire-Signature", "").encode(), expected.encode())


def take_webhook(port, secret):
    """Answers requests of the server."""

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):  # pylint: disable=invalid-name
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = 401
            if is_ours(secret, self.headers, body):
                try:
                    handle(json.loads(body))
                    status = 204
                except Exception as error:  # pylint: disable=broad-except
                    print(error, file=sys.stderr)
                    status = 503
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Webhook)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["feed"]:
        read_feed()
    elif sys.argv[1:2] == ["webhook"]:
        with open(sys.argv[3], "rb") as file:
            take_webhook(int(sys.argv[2]), file.read().strip())
