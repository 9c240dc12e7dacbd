"""A tracking server of MLflow on loopback, as far as the sink needs one: it keeps experiments and runs in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Tracking:
    """What a server holds.

    Attributes:
        runs: by identifier, as MLflow's REST interface describes them.
    """

    def __init__(self) -> None:
        self.experiments: list[dict[str, str]] = []
        self.runs: dict[str, dict[str, Any]] = {}

    def answer(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer a request, such as "runs/create"."""
        match action:
            case "experiments/search":
                return {"experiments": self.experiments}
            case "experiments/create":
                self.experiments.append({"name": asked["name"], "experiment_id": "1", "lifecycle_stage": "active"})
                return {"experiment_id": "1"}
            case "runs/search":
                return {"runs": [*self.runs.values()]}
            case "runs/create":
                number = f"run{len(self.runs)}"
                info = {"run_id": number, "run_uuid": number, "status": "RUNNING", "lifecycle_stage": "active"}
                info |= {name: asked[name] for name in ("experiment_id", "start_time", "run_name")}
                self.runs[number] = {"info": info, "data": {"tags": asked["tags"], "params": [], "metrics": []}}
                return {"run": self.runs[number]}
            case "runs/log-batch":
                for name in ("params", "metrics"):
                    self.runs[asked["run_id"]]["data"][name] += asked.get(name, [])
                return {}
            case "runs/update":
                info = self.runs[asked["run_id"]]["info"]
                info |= {name: asked[name] for name in ("status", "end_time") if name in asked}
                return {"run_info": info}
            case "runs/get":
                return {"run": self.runs[asked["run_id"]]}
        raise KeyError(action)


@contextmanager
def tracking_server() -> Iterator[tuple[str, Tracking]]:
    """Yield the address of a running server, and what it holds."""
    tracking = Tracking()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = json.loads(body) if body else dict(pair.split("=") for pair in query.split("&") if pair)
            try:
                status, answer = 200, tracking.answer(path.partition("/mlflow/")[2], asked)
            except KeyError:
                status, answer = 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": path}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", tracking
    server.shutdown()
    server.server_close()
