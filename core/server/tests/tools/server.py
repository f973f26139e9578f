"""An MCP server that behaves as its tools are called. On its standard streams, or with `--http` over streamable HTTP:
then its first line of output is its URL. With `--witness=HOST:PORT`, on its standard streams, whoever listens there hears
of each call of `echo` first, and says what comes of it. Nothing but Python's standard library."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODES = set(sys.argv[1:])
PORT = next((int(mode[7:]) for mode in MODES if mode.startswith("--port=")), 0)
PATHS = [mode[6:] for mode in MODES if mode.startswith("--pid=")]
OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}}
NAMES = ["echo", "twice", "picture", "structured", "fails", "refuses", "hangs", "seen", "dies", "floods", "chatters",
         "babbles", "malformed", "grows", "environment", "spawns", "large", "asks", "html", "broken", "events",
         "cut", "endless_events", "changes", "deaf", "leaves", "not.a.name"]
HINTS = {"echo": {"readOnlyHint": True}, "twice": {"idempotentHint": True}, "fails": {"destructiveHint": True}}
WITNESS = next((mode[10:] for mode in MODES if mode.startswith("--witness=")), None)
SAID = os.environ.get("SAID", "")
SECRET = os.environ.get("MCP_TEST_SECRET")

lock = threading.Lock()
cancelled = []
hanging = []
grown = []
opened = []
streams = []
asked = {}


def tools():
    return [{"name": name, "description": f"It is called {name}{SAID}", "inputSchema": OBJECT,
             **({"annotations": HINTS[name]} if name in HINTS else {})} for name in NAMES + grown]


def text(said, **more):
    return {"content": [{"type": "text", "text": said}], **more}


def answer(message, tell):
    """The result, or None if there is none yet."""
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "tests", "version": "1"}}
    if method == "tools/list":
        if "--endless" in MODES:
            return {"tools": [dict(tools()[0], name=f"n{time.monotonic_ns()}")], "nextCursor": "x"}
        begin = int(params.get("cursor") or 0)
        page = {"tools": tools()[begin:begin + 10]}
        return dict(page, nextCursor=str(begin + 10)) if begin + 10 < len(tools()) else page
    if method != "tools/call":
        return {}
    name, arguments = params["name"], params.get("arguments", {})
    if name in ("echo", "twice"):
        return text(json.dumps(arguments))
    if name == "picture":
        return {"content": [{"type": "image", "data": "AA==", "mimeType": "image/png"}, {"type": "text", "text": "x"}]}
    if name == "structured":
        return {"content": [], "structuredContent": {"n": 1}}
    if name == "fails":
        return text("out of order", isError=True)
    if name == "seen":
        return text(json.dumps({"hanging": hanging, "cancelled": cancelled, "opened": len(opened)}))
    if name == "grows":
        grown.append("grown")
        tell({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        time.sleep(arguments.get("n", 0))
        tell({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("done")
    if name == "changes":
        HINTS.pop("echo", None)
        tell({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("done")
    if name == "environment":
        return text(json.dumps(dict(os.environ)))
    if name == "spawns":
        return text(str(subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL).pid))
    if name == "leaves":
        left = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        return text(str(left.pid))
    if name == "large":
        return text("x" * arguments["n"])
    if name == "malformed":
        return [1]
    if name == "asks":
        return {"resultType": "input_required", "inputRequests": {}, "requestState": "x"}
    if name == "hangs":
        hanging.append(message["id"])
    return None


def respond(message, result):
    if message["method"] == "tools/call" and message["params"]["name"] == "refuses":
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32602, "message": message["params"].get("arguments", {}).get("say", "never\nthat")}}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def ask_witness(message, connection, tell):
    """Does what the witness says. Who cancels the call shuts the connection down."""
    body = json.dumps({"name": message["params"]["name"], "input": message["params"].get("arguments", {})}).encode()
    head = f"POST /mcp HTTP/1.1\r\nHost: {WITNESS}\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        with connection, connection.makefile("rb") as said:
            connection.sendall(head.encode() + body)
            _, _, told = said.read().partition(b"\r\n\r\n")
    except OSError:
        return
    if told:
        told = json.loads(told)
        tell(respond(message, text(told["content"], isError=told["is_error"])))


def on_streams():
    def tell(message):
        with lock:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    print("begins", file=sys.stderr, flush=True)
    if "--exits" in MODES:
        sys.exit(3)
    if "--stubborn" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for path in PATHS:
        with open(path + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.rename(path + ".part", path)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            cancelled.append(message["params"]["requestId"])
            if connection := asked.pop(message["params"]["requestId"], None):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        if "id" not in message or "--silent" in MODES:
            continue
        name = message.get("params", {}).get("name")
        if name == "dies":
            os._exit(3)
        if name == "floods":
            sys.stdout.write("x" * (5 << 20))
            sys.stdout.flush()
        elif name == "chatters":
            progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 0, "progress": 1}}
            sys.stdout.write((json.dumps(progress) + "\n") * 20_000)
            sys.stdout.flush()
        elif name == "echo" and WITNESS:
            host, port = WITNESS.split(":")
            asked[message["id"]] = connection = socket.create_connection((host, int(port)))
            threading.Thread(target=ask_witness, args=(message, connection, tell), daemon=True).start()
        elif name == "deaf":
            time.sleep(600)
        elif name == "babbles":
            print("this is\nno JSON", flush=True)
        elif name == "malformed":
            tell({"jsonrpc": "2.0", "id": message["id"], "result": 7, "error": 7})
        else:
            result = answer(message, tell)
            if result is not None or name == "refuses":
                tell(respond(message, result))
    if "--stubborn" in MODES:
        time.sleep(600)


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        pass

    def do_GET(self):
        opened.append(self.headers.get("Last-Event-Id"))
        if "--breaks" in MODES or "--ends" in MODES:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            said = b"" if "--breaks" in MODES else b"retry: 0\nid: 1\n\n"
            self.close_connection = True
            return self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(said), said) if said else b"")
        if "--streams" not in MODES:
            return self.reply(405, "text/plain", b"")
        told = queue.Queue()
        streams.append(told)
        self.events()
        try:
            while True:
                self.wfile.write(f"data: {json.dumps(told.get())}\n\n".encode())
        except OSError:
            streams.remove(told)
        return None

    def do_DELETE(self):
        self.reply(200, "text/plain", b"")

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Mcp-Session-Id", "session-2" if "--sessions" in MODES else "session-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "--redirects" in MODES:
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if SECRET and self.headers.get("Authorization") != f"Bearer {SECRET}":
            return self.reply(401, "text/plain", b"who are you?")
        if "--sessions" in MODES and self.headers.get("Mcp-Session-Id") == "session-1":
            return self.reply(404, "text/plain", b"that was another one")
        if message.get("method") == "notifications/cancelled":
            cancelled.append(message["params"]["requestId"])
        if "id" not in message:
            return self.reply(202, "text/plain", b"")
        name = message.get("params", {}).get("name")
        if name == "html":
            return self.reply(200, "text/html", b"<h1>Hello</h1>")
        if name == "broken":
            return self.reply(500, "text/plain", b"it broke")
        if name == "floods":
            return self.reply(200, "application/json", b'"' + b"x" * (5 << 20) + b'"')
        if name == "hangs":
            hanging.append(message["id"])
            return time.sleep(20)
        if name in ("events", "cut", "endless_events"):
            self.events()
            if name == "endless_events":
                for _ in range(5 << 10):
                    self.wfile.write(b"data: " + b"x" * 1024 + b"\n")
            if name == "events":
                tell = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 0, "progress": 1}}
                for said in (tell, respond(message, text("streamed"))):
                    self.wfile.write(f"event: message\ndata: {json.dumps(said)}\n\n".encode())
            return None
        said = respond(message, answer(message, lambda told: [stream.put(told) for stream in streams]))
        return self.reply(200, "application/json", json.dumps(said).encode())


if "--http" in MODES:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Http)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()
else:
    on_streams()
