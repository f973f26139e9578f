#!/bin/sh
# A chat by curl: begin it, follow it, lose the connection, and go on at exactly that place, on another replica if there is one.
#
#   MAINSTEM=http://localhost:8080 MAINSTEM_2=http://localhost:8081 sh examples/curl.sh 'What is a replica?'
#
# Where the server asks for a token, it comes from MAINSTEM_TOKEN. In the end the history is printed, as it is kept.
set -eu

first=${MAINSTEM:-http://localhost:8080}
second=${MAINSTEM_2:-$first}
question=${1:-/demo parts=60 interval=30ms}

ask() {
    curl --silent --show-error --no-buffer --header "authorization: Bearer ${MAINSTEM_TOKEN:-none}" "$@"
}

# JSON needs these two written otherwise; a question is one line here.
text=$(printf %s "$question" | sed 's/[\\"]/\\&/g')
created=$(ask --fail-with-body --data "{\"content\": \"$text\"}" "$first/v1/chats")
chat=$(printf %s "$created" | sed 's/^{"id":"\([^"]*\)".*/\1/')
echo "chat $chat"

# What comes of a stream, up to the line that ends it. Curl goes on until it is told.
follow() {
    pipe=$(mktemp -u)
    mkfifo "$pipe"
    ask "$1" >"$pipe" 2>/dev/null &
    sed "$2" <"$pipe"
    kill $! 2>/dev/null || true
    rm "$pipe"
}

# Each event has its type, its cursor, and what it says. The connection is lost behind the 20th line.
events=$(follow "$first/v1/chats/$chat/stream" 20q)
printf '%s\n' "$events" | sed -n 's/^data: //p'
cursor=$(printf '%s\n' "$events" | sed -n 's/^id: //p' | tail -n 1)
echo "lost the connection behind $cursor"

# What follows is told by the other one: nothing twice, nothing left out. It is over when nothing runs any more.
follow "$second/v1/chats/$chat/stream?after=$cursor" '/^data: {"type":"status".*"status":"waiting"/q; /^data: {"type":"error"/q' |
    sed -n 's/^data: //p'

echo "the history:"
ask --fail-with-body "$second/v1/chats/$chat/messages"
echo
