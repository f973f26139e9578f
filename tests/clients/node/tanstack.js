// A page of TanStack's users, bundled for browsers: `#THREAD&SERVER&TOKEN` say what it shows and where it asks. What it shows is in the
// document, and so are the buttons by which it is driven.
import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';

const [threadId, server, token] = location.hash.slice(1).split('&').map(decodeURIComponent);

const element = (tag, members = {}) => Object.assign(document.createElement(tag), members);
const [main, log, text] = [element('main'), element('section'), element('input', { id: 'text' })];
const requests = [];
const fetchClient = (url, init) => {
  const resumes = new Headers(init?.headers).has('last-event-id');
  requests.push(`${init?.method ?? 'GET'}${resumes ? ' behind an event' : ''}`);
  return fetch(url, init);
};
const connection = fetchServerSentEvents(`${server}/ag-ui`, { fetchClient, headers: { authorization: `Bearer ${token}` } });

let client;
const of = (message, kind) => message.parts.filter((part) => part.type === kind).map((part) => part.content).join('');
const show = () => {
  const status = client.getIsLoading() ? 'streaming' : client.getStatus();
  Object.assign(main.dataset, { status, error: client.getError()?.message ?? '', requests: JSON.stringify(requests) });
  const articles = client.getMessages().map((message) => {
    const article = element('article', { textContent: of(message, 'text') });
    Object.assign(article.dataset, { role: message.role, thoughts: of(message, 'thinking') });
    return article;
  });
  log.replaceChildren(...articles);
};
// The client says so before it is what it says.
const changes = ['onMessagesChange', 'onLoadingChange', 'onStatusChange', 'onErrorChange'];
const showing = Object.fromEntries(changes.map((change) => [change, () => queueMicrotask(show)]));
client = new ChatClient({ threadId, connection, persistence: true, ...showing });

const send = element('button', { id: 'send', onclick: () => client.sendMessage(text.value).catch(() => {}) });
const again = element('button', { id: 'again', onclick: () => client.reload().catch(() => {}) });
main.append(log, text, send, again);
show();
document.body.append(main);
client.attach();
