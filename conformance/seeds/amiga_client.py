"""AMIGA from Python: python-socketio over polling, over WebSocket and over the upgrade, against a gateway.

Usage: amiga_client.py http://127.0.0.1:PORT
"""

import json
import sys
import threading
import time
import urllib.request

import socketio

BASE = sys.argv[1]


class Client:
    def __init__(self, transports):
        self.socket = socketio.Client(reconnection=False)
        self.told = []
        self.changed = threading.Condition()
        self.socket.on("*", self.hear)
        self.socket.connect(BASE, transports=transports, wait_timeout=10)

    def hear(self, name, *arguments):
        with self.changed:
            self.told.append((name, arguments[0] if arguments else None))
            self.changed.notify_all()

    def until(self, name, count=1):
        deadline = time.monotonic() + 15
        with self.changed:
            while True:
                found = [argument for told, argument in self.told if told == name]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0, f"no {name} in {self.told}"
                self.changed.wait(left)


def check(transports, expected):
    client = Client(transports)
    connected = client.until("connected")
    assert connected == {"status": "connected", "client_id": client.socket.get_sid()}, connected
    client.socket.emit("subscribe", {"hours": 24, "update_interval": 2})
    subscribed = client.until("subscribed")
    assert subscribed["config"] == {"hours": 24, "update_interval": 2, "subscribed": True}, subscribed
    update = client.until("metrics_update")
    assert list(update) == ["overview", "sessions", "activity", "timestamp"], update
    assert update["overview"]["tasks"]["total"] > 0
    client.socket.emit("request_refresh")
    client.until("metrics_update", 2)
    client.socket.emit("set_interval", {"interval": 5})
    assert client.until("interval_updated") == {"interval": 5}
    client.socket.emit("subscribe", {"hours": "many"})
    assert "hours" in client.until("error")["error"]
    # Answers while a person waits: an acknowledgement without arguments.
    assert client.socket.call("unsubscribe", timeout=10) in (None, (), [])
    assert client.until("unsubscribed") == {"status": "unsubscribed"}
    assert client.socket.transport() == expected, client.socket.transport()
    client.socket.disconnect()
    return update["overview"]


def main():
    seen = [
        check(["polling"], "polling"),
        check(["websocket"], "websocket"),
        check(["polling", "websocket"], "websocket"),
    ]
    assert seen[0] == seen[1] == seen[2]
    with urllib.request.urlopen(f"{BASE}/api/metrics/overview", timeout=10) as answer:
        assert json.load(answer) == seen[0]
    try:
        client = socketio.Client(reconnection=False)
        client.connect(BASE, namespaces=["/elsewhere"], wait_timeout=5)
    except socketio.exceptions.ConnectionError:
        pass
    else:
        raise AssertionError("a namespace that is not there was opened")
    print("all held")


main()
