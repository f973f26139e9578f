'use client';

import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport, type UIMessage } from 'ai';
import { type FormEvent, useEffect, useMemo, useState } from 'react';

// Any replica, or what stands before them; without a host the page's own.
const server = process.env.NEXT_PUBLIC_MAINSTEM ?? '';
const token = process.env.NEXT_PUBLIC_MAINSTEM_TOKEN;
const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

/** The chat that the address names; one that it does not name begins now. */
const chatOfAddress = () => {
  const address = new URL(location.href);
  const named = address.searchParams.get('chat');
  if (named) return named;
  const id = crypto.randomUUID();
  address.searchParams.set('chat', id);
  history.replaceState(null, '', address);
  return id;
};

export default function Page() {
  const [chat, setChat] = useState<{ id: string; messages: UIMessage[] }>();
  const [problem, setProblem] = useState<string>();

  // What there is comes first, and what runs is told on behind it.
  useEffect(() => {
    const id = chatOfAddress();
    fetch(`${server}/ai/chat/${id}/messages`, { headers })
      .then(async (answer) => {
        if (!answer.ok) throw new Error(await answer.text());
        setChat({ id, messages: await answer.json() });
      })
      .catch((error: Error) => setProblem(error.message));
  }, []);

  if (problem) return <p role="alert">{problem}</p>;
  return chat ? <Chat {...chat} /> : null;
}

function Chat({ id, messages: first }: { id: string; messages: UIMessage[] }) {
  const transport = useMemo(() => new DefaultChatTransport({ api: `${server}/ai/chat?ai=7`, headers }), []);
  const { messages, sendMessage, status, error, regenerate } = useChat({ id, messages: first, transport, resume: true });
  const [text, setText] = useState('');
  const runs = status === 'submitted' || status === 'streaming';

  const send = (event: FormEvent) => {
    event.preventDefault();
    if (!text.trim()) return;
    void sendMessage({ text });
    setText('');
  };
  // Leaving is not stopping: an answer goes on for whoever comes back.
  const stop = () => fetch(`${server}/ai/chat/${id}/stop`, { method: 'POST', headers });

  return (
    <main>
      <h1>Chat</h1>
      <ol aria-busy={runs}>
        {messages.map((message) => (
          <li key={message.id} className={message.role}>
            <h2>{message.role === 'user' ? 'You' : 'Answer'}</h2>
            {message.parts.map((part, at) => {
              if (part.type === 'text') return <p key={at}>{part.text}</p>;
              if (part.type === 'reasoning') return <details key={at}><summary>Thoughts</summary><p>{part.text}</p></details>;
              return null;
            })}
          </li>
        ))}
      </ol>
      {error && <p role="alert">{error.message} <button onClick={() => void regenerate()}>Try again</button></p>}
      <form onSubmit={send}>
        <label htmlFor="question">Message</label>
        <input id="question" value={text} onChange={(event) => setText(event.target.value)} autoComplete="off" />
        {runs ? <button type="button" onClick={() => void stop()}>Stop</button> : <button>Send</button>}
      </form>
    </main>
  );
}
