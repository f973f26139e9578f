// A page of the AI SDK, driven line by line: each line of the input is a command as JSON, and is answered by one line.
// Arguments: the major version of the SDK, the server's URL, the chat's id, the query behind the route, and what it has.
import { createInterface } from 'node:readline';

const [version, server, id, query, begin] = process.argv.slice(2);
const { Chat } = await import(`ai-sdk-react-${version}`);
const ai = await import(`ai${version}`);
const { DefaultChatTransport, WebSocketChatTransport } = ai;

let origin = server;
const news = [];
const requests = [];
const options = JSON.parse(begin);

const socket = () =>
  new WebSocketChatTransport({
    url: `${server.replace('http', 'ws')}/ai/chat/socket${query}`,
    params: options.token ? { access_token: options.token } : undefined,
    headers: options.headers,
    webSocket: class extends WebSocket {
      constructor(url, protocols) {
        requests.push('SOCKET');
        const to = new URL(url);
        super(`${origin.replace('http', 'ws')}${to.pathname}${to.search}`, protocols);
      }
    },
  });

// A body that breaks off is another error in browsers than in Node, and the SDK takes that alone for a lost connection.
const asInBrowsers = async (url, init) => {
  const response = await fetch(url, init);
  if (!response.body) return response;
  const reader = response.body.getReader();
  const pull = async (controller) => {
    try {
      const { done, value } = await reader.read();
      return done ? controller.close() : controller.enqueue(value);
    } catch (error) {
      controller.error(error.name === 'AbortError' ? error : new TypeError('network error'));
    }
  };
  return new Response(new ReadableStream({ pull, cancel: (why) => reader.cancel(why) }), response);
};

// A long chat sends its last message alone.
const last = ({ id, messages, trigger, messageId, body }) => ({
  body: { ...body, id, messages: messages.slice(-1), trigger, messageId },
});

const http = () => new DefaultChatTransport({
  api: `${server}/ai/chat${query}`,
  headers: options.token ? { authorization: `Bearer ${options.token}` } : options.headers,
  prepareSendMessagesRequest: options.last ? last : undefined,
  // Another replica, or another page of the same user, is only another origin.
  fetch: (url, init) => {
    requests.push(init?.method ?? 'GET');
    const to = new URL(url);
    return (options.browser ? asInBrowsers : fetch)(`${origin}${to.pathname}${to.search}`, init);
  },
});
const transport = options.socket ? socket() : http();

const chat = new Chat({
  id,
  transport,
  messages: options.messages ?? [],
  onData: (part) => news.push(part),
  onError: () => {},
  sendAutomaticallyWhen: options.automatic ? ai.lastAssistantMessageIsCompleteWithToolCalls : undefined,
});

// What is not awaited may fail, which the chat's status says.
const begun = (promise) => void Promise.resolve(promise).catch((error) => news.push({ type: 'thrown', data: `${error}` }));

const commands = {
  send: ({ text, files, metadata }) => begun(chat.sendMessage({ text, files, metadata })),
  parts: ({ parts }) => begun(chat.sendMessage({ parts })),
  body: ({ text, body }) => begun(chat.sendMessage({ text }, { body })),
  edit: ({ messageId, text }) => begun(chat.sendMessage({ text, messageId })),
  regenerate: ({ messageId }) => begun(chat.regenerate(messageId ? { messageId } : undefined)),
  resume: () => begun(chat.resumeStream()),
  resumeToEnd: () => chat.resumeStream().catch(() => {}),
  stop: () => begun(chat.stop()),
  go: ({ to }) => void (origin = to),
  output: ({ tool, toolCallId, output }) =>
    begun((chat.addToolOutput ?? chat.addToolResult).call(chat, { tool, toolCallId, output })),
  state: () => {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await commands[command.do](command);
  const { status, error, messages } = chat;
  console.log(JSON.stringify({ status, error: error ? `${error.message}` : null, messages, news, requests }));
}
process.exit(0);
