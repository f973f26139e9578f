// A page of the SDK's users, bundled for browsers: `#ID&SERVER&TOKEN&QUERY&RESUME&OWN` say what it shows and where it asks. What it shows
// is in the document, and so are the buttons by which it is driven.
import { Chat as OwnChat, useChat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

const [id, server, token, query, resume, own] = location.hash.slice(1).split('&').map(decodeURIComponent);

const headers = token ? { authorization: `Bearer ${token}` } : {};
const transport = new DefaultChatTransport({ api: `${server}/ai/chat${query}`, headers });
const first = await fetch(`${server}/ai/chat/${id}/messages`, { headers });
const begin = { id, transport, messages: await first.json(), resume: resume === 'resume' };
const Chat = () => {
  const { messages, sendMessage, regenerate, stop, status, error } = useChat(begin);
  const [text, setText] = useState('');
  const ask = () => fetch(`${server}/ai/chat/${id}/stop`, { method: 'POST', headers });
  return (
    <main data-status={status} data-error={error?.message ?? ''}>
      {messages.map((message) => (
        <article key={message.id} data-role={message.role} data-id={message.id}>
          {message.parts.map((part, at) => (part.type === 'text' ? <span key={at}>{part.text}</span> : null))}
        </article>
      ))}
      <input id="text" value={text} onChange={(event) => setText(event.target.value)} />
      <button id="send" onClick={() => sendMessage({ text })} />
      <button id="again" onClick={() => regenerate()} />
      <button id="leave" onClick={() => stop()} />
      <button id="stop" onClick={ask} />
    </main>
  );
};

// A chat that the page makes itself, which the hook only shows.
if (own) begin.chat = new OwnChat({ id, transport, messages: begin.messages });
createRoot(document.getElementById('root')).render(<Chat />);
