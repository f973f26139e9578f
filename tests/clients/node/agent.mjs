// A client of AG-UI, driven line by line: each line of the input is a command as JSON, and is answered by one line.
// Arguments: the package (ag-ui-0, ag-ui-1 or tanstack), the server's URL, the thread, the query behind the route, and options.
import { createInterface } from 'node:readline';

const [kind, server, thread, query, begin] = process.argv.slice(2);
const options = JSON.parse(begin);
const requests = [];
const events = [];
let origin = server;
let cutAfter = options.cutAfter ?? Infinity;

// Another replica is only another origin. A connection that breaks, and a proxy in between that waits, are here.
const reach = async (url, init) => {
  const to = new URL(url);
  requests.push({
    method: init?.method ?? 'GET',
    query: to.search,
    resumes: new Headers(init?.headers).get('last-event-id'),
    run: init?.body ? JSON.parse(init.body).runId : undefined,
  });
  const response = await fetch(`${origin}${to.pathname}${to.search}`, init);
  if (!response.body || cutAfter === Infinity) return response;
  const reader = response.body.getReader();
  const pull = async (controller) => {
    const { done, value } = await reader.read();
    if (done) return controller.close();
    if (value.length > cutAfter) {
      if (cutAfter > 0) controller.enqueue(value.slice(0, cutAfter));
      cutAfter = Infinity;
      reader.cancel().catch(() => {});
      return controller.error(new TypeError('terminated'));
    }
    cutAfter -= value.length;
    controller.enqueue(value);
  };
  return new Response(new ReadableStream({ pull, cancel: (why) => reader.cancel(why) }), response);
};

// `@ag-ui/client` leaves one behind where a connection breaks, which ends Node.
process.on('unhandledRejection', () => {});

const url = `${server}/ag-ui${query}`;
const headers = options.token ? { authorization: `Bearer ${options.token}` } : {};

const httpAgent = async () => {
  const { HttpAgent } = await import(kind);
  const agent = new HttpAgent({ url, headers, threadId: thread, fetch: reach, initialMessages: options.messages ?? [] });
  const shown = { status: 'ready', error: null };
  const run = (parameters) => {
    Object.assign(shown, { status: 'streaming', error: null });
    const subscriber = {
      onEvent: ({ event }) => void events.push(event),
      onRunErrorEvent: ({ event }) => void Object.assign(shown, { status: 'error', error: event.message }),
    };
    agent.runAgent({ tools: options.tools, forwardedProps: options.props, ...parameters }, subscriber).then(
      () => shown.status === 'streaming' && Object.assign(shown, { status: 'ready' }),
      (error) => Object.assign(shown, { status: 'error', error: `${error.message}` }),
    );
  };
  return {
    send: ({ text, id, runId }) => {
      agent.addMessage({ id: id ?? crypto.randomUUID(), role: 'user', content: text });
      run({ runId });
    },
    run: ({ runId, resume }) => run({ runId, resume }),
    set: ({ messages }) => agent.setMessages(messages),
    add: ({ message }) => agent.addMessage(message),
    stop: () => agent.abortRun(),
    state: () => ({ ...shown, messages: agent.messages, state: agent.state, pending: agent.pendingInterrupts ?? [] }),
  };
};

const tanstack = async () => {
  const { ChatClient, fetchServerSentEvents } = await import('@tanstack/ai-client');
  const carriedOut = (tool) => ({ ...tool, __toolSide: 'client', inputSchema: tool.parameters, execute: async (input) => tool.output ?? input });
  const client = new ChatClient({
    threadId: thread,
    connection: fetchServerSentEvents(url, { fetchClient: reach, headers }),
    persistence: options.persistence,
    initialMessages: options.messages,
    tools: (options.tools ?? []).map(carriedOut),
    onChunk: (chunk) => void events.push(chunk),
    onError: () => {},
  });
  client.attach();
  const begun = (promise) => void Promise.resolve(promise).catch(() => {});
  return {
    send: ({ text }) => begun(client.sendMessage(text)),
    run: () => begun(client.reload()),
    stop: () => client.stop(),
    state: () => ({
      status: client.getIsLoading() ? 'streaming' : client.getStatus(),
      error: client.getError()?.message ?? null,
      messages: client.getMessages(),
      pending: client.getPendingInterrupts(),
    }),
  };
};

const commands = kind === 'tanstack' ? await tanstack() : await httpAgent();

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.do === 'go') origin = command.to;
  else if (command.do === 'cut') cutAfter = 0;
  else if (command.do !== 'state') commands[command.do](command);
  console.log(JSON.stringify({ ...commands.state(), requests, events }));
}
process.exit(0);
