"""OpenAI's client, driven line by line: each line of the input is a command as JSON, and is answered by one line.

The commands are those of `openai.mjs`, so that one test drives both.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

import httpx2
import openai

requests = []
streams = {}


async def noted(request):
    to = urlsplit(str(request.url))
    path = f"{to.path}?{to.query}" if to.query else to.path
    tried = int(request.headers.get("x-stainless-retry-count", 0))
    requests.append({"method": request.method, "path": path, "tried": tried})


def breaking(breaks):
    """Of so many requests the connection breaks when they are carried out, and before the client has any answer."""
    left = iter(range(breaks))

    async def broken(response):
        if next(left, None) is not None:
            raise httpx2.ReadError("terminated", request=response.request)

    return broken


def refused(error):
    named = {name: getattr(error, name, None) for name in ("code", "type", "param")}
    status = getattr(error, "status_code", None)
    return {"kind": type(error).__name__, "message": str(error), "status": status, **named}


def plain(value):
    if not hasattr(value, "to_dict"):
        return value
    told = value.to_dict(mode="json", warnings=False)
    # The package's own joining of the answer's texts.
    return {**told, "output_text": value.output_text} if hasattr(value, "output_text") else told


def asked(command):
    """What a method answers: to be awaited, iterated or entered."""
    hooks = {"request": [noted], "response": [breaking(command.get("breaks", 0))]}
    client = openai.AsyncOpenAI(
        base_url=f"{command['at']}/v1",
        api_key=command.get("token", "none"),
        max_retries=command.get("retries", 0),
        http_client=openai.DefaultAsyncHttpxClient(event_hooks=hooks),
    )
    method = client
    for name in command["of"].split("."):
        method = getattr(method, name)
    given = [command["id"]] if "id" in command else []
    named = dict(command.get("with", {}))
    if "beside" in command:
        named["extra_body"] = command["beside"]
    if "query" in command:
        named["extra_query"] = command["query"]
    return method(*given, **named)


class Stream:
    def __init__(self, command):
        self.status, self.error, self.text, self.events = "streaming", None, "", []
        self.final = None
        self.stop_after = command.get("stopAfter", float("inf"))
        self.reading = asyncio.create_task(self.read(command))

    def note(self, event):
        event = plain(event)
        chunk = event.get("chunk", event)
        self.events.append(chunk)
        if event.get("type") == "response.output_text.delta":
            self.text += event["delta"]
        elif chunk.get("choices"):
            self.text += chunk["choices"][0]["delta"].get("content") or ""
        if len(self.text) >= self.stop_after:
            self.status = "left"
            return False
        return True

    async def read(self, command):
        try:
            if command["of"].endswith(".stream"):
                await self.helped(command)
            else:
                async with await asked(command) as events:
                    async for event in events:
                        if not self.note(event):
                            break
        except Exception as error:  # whatever its client raises is told
            if self.status == "streaming":
                self.status, self.error = "failed", refused(error)
        if self.status == "streaming":
            self.status = "ended"

    async def helped(self, command):
        is_chat = command["of"].startswith("chat")
        async with asked(command) as events:
            async for event in events:
                # Beside its chunks the helper tells what it made of them.
                if is_chat and event.type != "chunk":
                    continue
                if not self.note(event):
                    return
            final = events.get_final_completion if is_chat else events.get_final_response
            self.final = plain(await final())

    def state(self):
        return {"status": self.status, "error": self.error, "text": self.text, "count": len(self.events)}

    def told(self):
        return {**self.state(), "events": self.events, "final": self.final}

    async def leave(self):
        self.status = "left"
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        return self.state()


async def carry_out(command):
    name, do = command.get("name"), command["do"]
    if do == "call":
        return {"value": plain(await asked(command))}
    if do == "list":
        return {"values": [plain(item) async for item in asked(command)]}
    if do == "begin":
        streams[name] = Stream(command)
        return streams[name].state()
    if do == "state":
        return streams[name].state()
    if do == "told":
        return streams[name].told()
    if do == "leave":
        return await streams[name].leave()
    return {"requests": requests}


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = await carry_out(json.loads(line))
        except Exception as error:  # whatever its client raises is told
            answer = {"error": refused(error)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
