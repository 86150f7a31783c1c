"""What back ends in Python call to reach their pages through Eventwire. Standard library only; copy this file.

ADW workflows:

    notifier = WebSocketNotifier("29fb6a3e")
    notifier.send_agent_log_entry("Creating the plan", level="INFO")

Shared Context:

    broadcast("session_1", {"type": "new_message", "data": {...}})

AMIGA monitoring:

    socketio = SocketIO()
    socketio.emit("task_update", data, room="tasks")

Every method returns True when the event was taken and False otherwise. A server that is absent, slow or of another opinion
never raises and costs two seconds. EVENTWIRE_URL says where the server is, EVENTWIRE_TOKEN is the API key where one is
needed; DISABLE_WEBSOCKET_NOTIFICATIONS=true turns the notifier off.
"""

import json
import os
import re
import urllib.request
from datetime import datetime, timezone

TIMEOUT_SECONDS = 2
DEFAULT_URL = "http://127.0.0.1:4800"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


# No proxy: the server is usually on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _post(path, body, headers=None, server_url=None, timeout=TIMEOUT_SECONDS):
    """Posts JSON. True when the answer is a success."""
    try:
        base = (server_url or os.environ.get("EVENTWIRE_URL") or DEFAULT_URL).rstrip("/")
        headers = {"Content-Type": "application/json", **(headers or {})}
        token = os.environ.get("EVENTWIRE_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(body, allow_nan=False).encode()
        request = urllib.request.Request(base + path, data=data, headers=headers, method="POST")
        with _OPENER.open(request, timeout=timeout) as answer:
            return 200 <= answer.status < 300
    except Exception:  # pylint: disable=broad-except
        return False


def broadcast(session_id, event):
    """An event for everybody in one session of Shared Context, as far as its visibility allows."""
    return _post("/v1/events?dialect=shared_context", event, {"Eventwire-To": f"session:{session_id}"})


class SocketIO:
    """Stands where AMIGA's `socketio` stood, for what it emits."""

    def emit(self, event, data=None, room=None, to=None):
        """An event for the members of a room, for one connection (by its id), or for everybody."""
        name = room or to
        if not name:
            target = "global"
        elif re.fullmatch("c[0-9a-f]{16}", name):
            target = f"connection:{name}"
        else:
            target = f"room:{name}"
        return _post("/v1/events?dialect=amiga", {"event": event, "data": data}, {"Eventwire-To": target})


class WebSocketNotifier:
    """Tells the watchers of one ADW what its workflow does."""

    def __init__(self, adw_id, server_url=None):
        self.adw_id = adw_id
        self.server_url = server_url
        self.enabled = os.environ.get("DISABLE_WEBSOCKET_NOTIFICATIONS", "false").lower() != "true"

    def _send(self, path, timeout=TIMEOUT_SECONDS, **members):
        if not self.enabled:
            return False
        return _post(path, {"adw_id": self.adw_id, **members}, server_url=self.server_url, timeout=timeout)

    def send_agent_state_update(self, event_type, data, timeout=TIMEOUT_SECONDS):
        """What an agent did: state_change, log_entry, file_operation, thinking, tool_execution_pre, tool_execution_post,
        text_block."""
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        return self._send("/api/agent-state-update", timeout, event_type=event_type, data=data, timestamp=now)

    def send_agent_log_entry(self, message, level="INFO", details=None, context=None):
        """A line of the log."""
        return self.send_agent_state_update(
            "log_entry", {"message": message, "level": level, "details": details, "context": context or {}}
        )

    def send_file_operation(self, file_path, operation, diff=None, summary=None, lines_added=0, lines_removed=0):
        """A file was read, written, modified or deleted."""
        return self.send_agent_state_update(
            "file_operation",
            {
                "file_path": file_path,
                "operation": operation,
                "diff": diff,
                "summary": summary,
                "lines_added": lines_added,
                "lines_removed": lines_removed,
            },
        )

    def send_agent_thinking(self, content, duration_ms=None, sequence=None):
        """A block of thinking."""
        return self.send_agent_state_update(
            "thinking", {"content": content, "duration_ms": duration_ms, "sequence": sequence}
        )

    def send_tool_execution(
        self,
        tool_name,
        phase,
        tool_use_id=None,
        input_data=None,
        output=None,
        duration_ms=None,
        success=True,
        error=None,
    ):
        """A tool is about to be used (phase "pre") or was used ("post")."""
        return self.send_agent_state_update(
            f"tool_execution_{phase}",
            {
                "tool_name": tool_name,
                "tool_use_id": tool_use_id,
                "input": input_data,
                "output": output,
                "duration_ms": duration_ms,
                "success": success,
                "error": error,
            },
        )

    def send_text_block(self, content, sequence=None):
        """A block of text."""
        return self.send_agent_state_update("text_block", {"content": content, "sequence": sequence})

    def send_workflow_phase_transition(
        self, phase_from, phase_to, workflow_name=None, metadata=None, timeout=TIMEOUT_SECONDS
    ):
        """The workflow went from one phase to the next."""
        return self._send(
            "/api/workflow-phase-transition",
            timeout,
            phase_from=phase_from,
            phase_to=phase_to,
            workflow_name=workflow_name,
            metadata=metadata or {},
        )

    def send_agent_output_chunk(
        self, agent_role, content, line_number=None, total_lines=None, is_complete=False, timeout=TIMEOUT_SECONDS
    ):
        """A piece of an agent's raw output."""
        return self._send(
            "/api/agent-output-chunk",
            timeout,
            agent_role=agent_role,
            content=content,
            line_number=line_number,
            total_lines=total_lines,
            is_complete=is_complete,
        )

    def send_screenshot_available(
        self, screenshot_path, screenshot_type="review", metadata=None, timeout=TIMEOUT_SECONDS
    ):
        """A screenshot can be looked at."""
        return self._send(
            "/api/screenshot-available",
            timeout,
            screenshot_path=screenshot_path,
            screenshot_type=screenshot_type,
            metadata=metadata or {},
        )

    def send_spec_created(self, spec_path, spec_type="plan", metadata=None, timeout=TIMEOUT_SECONDS):
        """A specification was written."""
        return self._send(
            "/api/spec-created", timeout, spec_path=spec_path, spec_type=spec_type, metadata=metadata or {}
        )

    def send_status_update(self, workflow_name, status, message, progress_percent=None, current_step=None):
        """How far the workflow is."""
        return self._workflow_update(
            "status_update",
            workflow_name=workflow_name,
            status=status,
            message=message,
            progress_percent=progress_percent,
            current_step=current_step,
        )

    def send_log(self, workflow_name, message, level="INFO"):
        """A line of the workflow's log."""
        return self._workflow_update("workflow_log", workflow_name=workflow_name, message=message, level=level)

    def _workflow_update(self, kind, **data):
        if not self.enabled:
            return False
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        body = {"type": kind, "data": {"adw_id": self.adw_id, **data, "timestamp": now}}
        return _post("/api/workflow-updates", body, server_url=self.server_url)

    def close(self):
        """Nothing is held open."""
