"""What schemathesis cannot know of requests from /openapi.json."""

import itertools
import json
import re

import schemathesis

KEY = re.compile("[!-~]{1,200}")
numbers = itertools.count(1)


@schemathesis.hook
def before_call(context, case, kwargs):
    """A valid key belongs to one request: under a key again, a chat that is deleted since is told as created."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"


@schemathesis.hook
def filter_case(context, case):
    """Two tools of one name, and a NUL anywhere in a schema of a tool, are refused, and no schema says so."""
    tools = case.body.get("tools") if isinstance(case.body, dict) else None
    if not isinstance(tools, list):
        return True
    tools = [tool for tool in tools if isinstance(tool, dict)]
    names = [tool["name"] for tool in tools if isinstance(tool.get("name"), str)]
    schemas = json.dumps([tool.get("input_schema") for tool in tools])
    return len(names) == len(set(names)) and "\\u0000" not in schemas
