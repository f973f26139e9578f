// OpenAI's client, driven line by line: each line of the input is a command as JSON, and is answered by one line.
//   call   a method: `of` is its name below the client, `id` its first argument if it has one, `with` the others,
//          `beside` what the package knows no name of
//   list   the same of a list: all its items, page after page
//   begin  the same of a stream, under a `name`; after `stopAfter` characters of text it reads no more. With `results`, the
//          tools of `runTools` answer them
//   state, told, leave   what a stream has come to, without and with what it was told, and leaving it
// Each names the replica (`at`), and may name a `token`, a `query`, how often to try again (`retries`), and of how many requests
// the answer is lost on its way (`breaks`).
import { createInterface } from 'node:readline';
import OpenAI from 'openai';

const requests = [];
const streams = {};

// Of so many requests the connection breaks when they are carried out, and before the client has any answer.
const reach = (breaks) => async (url, init) => {
  const to = new URL(url);
  const tried = Number(new Headers(init.headers).get('x-stainless-retry-count'));
  requests.push({ method: init.method ?? 'GET', path: to.pathname + to.search, tried });
  const response = await fetch(url, init);
  if (breaks-- <= 0) return response;
  await response.body?.cancel();
  throw new TypeError('terminated');
};

const refused = (error) => ({
  kind: error.constructor.name,
  message: error.message,
  status: error.status ?? null,
  code: error.code ?? null,
  type: error.type ?? null,
  param: error.param ?? null,
});

// What a method answers: to be awaited, iterated or listened to. It takes no `undefined` in the place of nothing.
const asked = ({ at, token, retries = 0, breaks = 0, of, id, with: parameters, beside, query }) => {
  const options = { baseURL: `${at}/v1`, apiKey: token ?? 'none', maxRetries: retries, fetch: reach(breaks) };
  const client = new OpenAI(options);
  const names = of.split('.');
  const method = names.pop();
  const owner = names.reduce((of, name) => of[name], client);
  const given = parameters || beside ? { ...parameters, ...beside } : undefined;
  return owner[method](...[id, given, query && { query }].filter((argument) => argument !== undefined));
};

const textOf = (event) => {
  if (event.type === 'response.output_text.delta') return event.delta;
  return event.choices?.[0]?.delta?.content ?? '';
};

const note = (stream, event) => {
  stream.events.push(structuredClone(event));
  stream.text += textOf(event);
  return stream.text.length < stream.stopAfter;
};

// `create` and `retrieve` give a stream to iterate over.
const raw = async (stream, command) => {
  const events = await asked(command);
  stream.leave = () => events.controller.abort();
  for await (const event of events) if (!note(stream, event)) return void (stream.status = 'left');
};

// A helper joins what it is told; what it has in the end is asked of it.
const helper = async (stream, command) => {
  const isChat = command.of.startsWith('chat');
  const events = asked(command);
  stream.leave = () => events.abort();
  events.on(isChat ? 'chunk' : 'event', (event) => {
    if (note(stream, event)) return;
    stream.status = 'left';
    events.abort();
  });
  stream.final = await (isChat ? events.finalChatCompletion() : events.finalResponse());
  stream.messages = events.messages;
};

// The tools as `runTools` takes them, which carries them out.
const carriedOut = ({ results, ...command }) => {
  const tools = command.with.tools.map((tool) => {
    const answer = (input) => results[tool.function.name] ?? JSON.stringify(input);
    return { ...tool, function: { ...tool.function, parse: JSON.parse, function: answer } };
  });
  return { ...command, with: { ...command.with, tools } };
};

const begin = ({ name, stopAfter = Infinity, ...command }) => {
  const stream = { status: 'streaming', error: null, text: '', events: [], stopAfter, leave: () => {} };
  streams[name] = stream;
  const isHelper = /\.(stream|runTools)$/.test(command.of);
  const reading = isHelper ? helper(stream, command.results ? carriedOut(command) : command) : raw(stream, command);
  reading.then(
    () => stream.status === 'streaming' && (stream.status = 'ended'),
    (error) => stream.status === 'streaming' && Object.assign(stream, { status: 'failed', error: refused(error) }),
  );
};

const state = ({ name }) => {
  const { status, error, text, events } = streams[name];
  return { status, error, text, count: events.length };
};

const commands = {
  call: async (command) => ({ value: (await asked(command)) ?? null }),
  list: async (command) => {
    const values = [];
    for await (const item of asked(command)) values.push(item);
    return { values };
  },
  begin: (command) => (begin(command), state(command)),
  state,
  told: ({ name }) => ({ ...state({ name }), ...streams[name] }),
  leave: ({ name }) => {
    streams[name].status = 'left';
    streams[name].leave();
    return state({ name });
  },
  requests: () => ({ requests }),
};

process.on('unhandledRejection', () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = await commands[command.do](command);
  } catch (error) {
    answer = { error: refused(error) };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
