"""A chat in the terminal with OpenAI's own package: each line of the input is a question.

    pip install openai
    MAINSTEM=http://localhost:8080 python examples/openai_chat.py

Several replicas may be named, with commas between them: when a connection breaks, the next one tells the rest of the answer, from exactly
that place. MAINSTEM_TOKEN is the token, where the server asks for one.
"""

import collections
import os
import sys
import time

import openai

REPLICAS = os.environ.get("MAINSTEM", "http://localhost:8080").split(",")
# The first of them is asked, until it does not answer.
CLIENTS = collections.deque(
    # A question has a key of its own here, so it is sent again by hand.
    openai.OpenAI(base_url=f"{replica}/v1", api_key=os.environ.get("MAINSTEM_TOKEN", "none"), max_retries=0)
    for replica in REPLICAS
)
ENDS = ("response.completed", "response.incomplete", "response.failed")


def ask(question, previous):
    """Sends a question behind the previous response, once, and returns the id of its response."""
    key = os.urandom(16).hex()
    for tries in range(10):
        try:
            response = CLIENTS[0].responses.create(
                input=question,
                previous_response_id=previous or openai.omit,
                background=True,
                extra_headers={"Idempotency-Key": key},
            )
            return response.id
        except (openai.APIConnectionError, openai.InternalServerError):
            CLIENTS.rotate(-1)
            time.sleep(0.1 * 2**tries)
    raise SystemExit("no replica answers")


def tell(response_id):
    """Writes the answer as it comes, through any number of broken connections."""
    last, tries = None, 0
    while tries < 10:
        try:
            where = {} if last is None else {"starting_after": last}
            with CLIENTS[0].responses.retrieve(response_id, stream=True, **where) as events:
                for event in events:
                    last, tries = event.sequence_number, 0
                    if event.type == "response.output_text.delta":
                        print(event.delta, end="", flush=True)
                    elif event.type == "response.in_progress" and last > 2:
                        print("\n[what was said is void: the answer begins again]")
                    elif event.type in ENDS:
                        print(f"\n[{event.response.status}]", flush=True)
                        return
        except (openai.APIError, OSError) as error:
            if getattr(error, "status_code", 500) < 500:
                raise
        # The connection broke, or ended without an end.
        CLIENTS.rotate(-1)
        time.sleep(0.1 * 2**tries)
        tries += 1
    raise SystemExit("no replica tells the rest")


def main():
    previous = None
    for line in sys.stdin:
        if question := line.strip():
            previous = ask(question, previous)
            tell(previous)


if __name__ == "__main__":
    main()
