/**
 * A client of Mainstem for browsers, and for whatever else has `fetch`: one file that stands alone.
 *
 *     import { Mainstem } from "/mainstem.js";
 *
 *     const server = new Mainstem();
 *     const chat = await server.create({ content: "Hello!" });
 *     const watch = server.watch(chat.id, (view) => console.log(view.messages, view.blocks));
 *     await server.send(chat.id, "And then?");
 *
 * A view shows what the server has: each word once and in order, whatever replica answers, and however often the connection
 * breaks. Objects are those of the protocol (docs/protocol.md); requests that fail throw a `Problem`.
 *
 * @typedef {{type: string, text?: string, id?: string, name?: string, input?: unknown, input_text?: string,
 *   tool_call_id?: string, content?: unknown, is_error?: boolean, url?: string, title?: string, [member: string]: unknown}} Part
 * @typedef {{id: number, client_id: string | null, turn: number | null, revision: number, role: "user" | "assistant" | "tool" | "system",
 *   content: Part[], interrupted: boolean, finish_reason: string | null, created_at: string}} Message
 * @typedef {{id: number, client_id: string | null, content: Part[], created_at: string}} Queued
 * @typedef {{id: string, title: string | null, status: Status, worker: string | null, updated_at: string,
 *   queue: Queued[], [member: string]: unknown}} Chat
 * @typedef {"waiting" | "running" | "interrupting" | "requires_action" | "error"} Status
 * @typedef {{id: string, name: string, input: unknown}} Call
 * @typedef {{type: string, cursor: string, [member: string]: any}} StreamEvent
 *
 * @typedef {object} View what there is of a chat
 * @property {Message[]} messages the history, oldest first
 * @property {Part[]} blocks the answer that is being told, block by block; empty if none is
 * @property {Queued[]} queue messages that wait for their turn
 * @property {Status | null} status null until it is known
 * @property {string | null} worker the replica that answers
 * @property {Call[]} calls that the client has to carry out
 * @property {{code: string, message: string} | null} error why the chat is in `error`
 * @property {{attempt: number, delay_ms: number, at: string, error: {message: string}} | null} retry the answer failed, and is tried again
 * @property {string | null} replaced why what was shown of the answer went: `retry`, `takeover`, `edit`; null once there is more
 * @property {boolean} synced whether all that there was has come
 * @property {"connecting" | "live" | "lost" | "ended"} connection it comes back by itself when it is lost, and never when it has ended
 * @property {Problem | null} problem why it has ended
 */

/** A stream tells something every 15 s. One that is silent for so long, in milliseconds, is dead. */
const SILENCE_MAX = 40_000;
/** A page that is hidden for so long lets its stream go, and comes back when it is seen: browsers open few at a time. */
const HIDDEN_MAX = 60_000;
/** Pauses between tries, in milliseconds: at first at most so long, then twice that, never more. */
const PAUSE_FIRST = 500;
const PAUSE_MAX = 15_000;
/** How often a request is made that nobody answered, or that could not be answered now. While there is no network it waits. */
const TRIES_MAX = 4;

/** Why a request was refused (RFC 9457), or, with the status 0, that nobody answered it. */
export class Problem extends Error {
  /** @param {number} status @param {{code?: string, title?: string, detail?: string}} said @param {number | null} [retryAfter] */
  constructor(status, said, retryAfter = null) {
    super(said.detail || said.title || `status ${status}`);
    this.name = "Problem";
    this.status = status;
    /** Stable, for programs. */
    this.code = said.code ?? "";
    this.title = said.title ?? "";
    /** In seconds. */
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may be answered later. */
  get isPassing() { return this.status === 0 || this.status === 429 || this.status >= 500; }

  /** @param {Response} response */
  static async of(response) {
    const said = await response.json().catch(() => ({}));
    const after = Number(response.headers.get("retry-after") ?? NaN);
    return new Problem(response.status, said, Number.isFinite(after) ? after : null);
  }
}

/** A name that nobody else has, for messages, chats and requests. */
export function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns {View} */
export const emptyView = () => ({
  messages: [], blocks: [], queue: [], status: null, worker: null, calls: [], error: null, retry: null,
  replaced: null, synced: false, connection: "connecting", problem: null,
});

/** What an event says becomes part of the view. @param {View} view @param {StreamEvent} event */
export function apply(view, event) {
  switch (event.type) {
    case "message": {
      const at = view.messages.findIndex((message) => message.id >= event.message.id);
      const replaces = view.messages[at]?.id === event.message.id ? 1 : 0;
      view.messages.splice(at < 0 ? view.messages.length : at, replaces, event.message);
      Object.assign(view, { blocks: [], replaced: null });
      break;
    }
    case "message_part":
      view.replaced = null;
      if (event.block >= view.blocks.length) {
        view.blocks.push({ ...event.part });
      } else {
        const [block, text] = [view.blocks[event.block], event.part.type === "tool_call" ? "input_text" : "text"];
        block[text] = `${block[text] ?? ""}${event.part[text] ?? ""}`;
      }
      break;
    case "preview_reset":
      view.replaced = view.blocks.length > 0 ? event.reason : view.replaced;
      view.blocks = [];
      break;
    case "history_reset":
      Object.assign(view, { messages: [], blocks: [], replaced: null });
      break;
    case "queue_update": view.queue = event.queue; break;
    case "status":
      Object.assign(view, { status: event.status, worker: event.worker, calls: event.pending_calls ?? [] });
      if (event.status !== "error") view.error = null;
      break;
    case "error": view.error = event.error; break;
    case "retry": view.retry = event.retry; break;
    case "synced": view.synced = true;
  }
}

/** A server: any replica of it. */
export class Mainstem {
  /** @param {{url?: string, token?: string | null}} [options] `url`: "" is the server of this page */
  constructor({ url = "", token = null } = {}) {
    this.url = url.replace(/\/$/, "");
    this.token = token;
  }

  /**
   * Makes a request until it is answered. Under the same `key` nothing is done twice.
   * @param {string} method @param {string} path @param {unknown} [body] @param {string} [key]
   * @returns {Promise<any>} the answer's body
   */
  async ask(method, path, body, key = newName()) {
    for (let tried = 1; ; tried += 1) {
      try {
        const response = await this.#fetch(method, path, { body, key });
        return response.status === 204 ? null : await response.json();
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(0, { title: "the server does not answer" });
        const wait = problem.retryAfter === null ? pauseBefore(tried) : problem.retryAfter * 1000;
        const isLast = tried >= TRIES_MAX && globalThis.navigator?.onLine !== false;
        if (!problem.isPassing || isLast || wait > PAUSE_MAX) throw problem;
        await Promise.race([pause(wait), heard(globalThis.window, "online")]);
      }
    }
  }

  /** @param {string} method @param {string} path @param {{body?: unknown, key?: string, signal?: AbortSignal}} options */
  async #fetch(method, path, { body, key, signal }) {
    const isRepeatable = key && (method === "POST" || method === "PATCH");
    const headers = {
      ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(isRepeatable ? { "idempotency-key": key } : {}),
    };
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await fetch(this.url + path, { method, headers, body: text, signal, cache: "no-store" });
    if (!response.ok) throw await Problem.of(response);
    return response;
  }

  /** Creates a chat. With `content` it begins to answer. @param {object} chat @param {string} [key] @returns {Promise<Chat>} */
  create(chat, key) { return this.ask("POST", "/v1/chats", chat, key); }
  /** Newest first; `next` is the `before` of the next page. @param {string | null} [before] @returns {Promise<{chats: Chat[], next: string | null}>} */
  list(before) { return this.ask("GET", `/v1/chats?limit=50${before ? `&before=${encodeURIComponent(before)}` : ""}`); }
  /** @param {string} chat @returns {Promise<Chat>} */
  chat(chat) { return this.ask("GET", at(chat)); }
  /** @param {string} chat @param {object} settings */
  configure(chat, settings) { return this.ask("PATCH", at(chat), settings); }
  /** Of a chat that is busy: 409. @param {string} chat */
  remove(chat) { return this.ask("DELETE", at(chat)); }
  /** While the chat answers, the message waits, or goes ahead with `busy: "interrupt"`. @param {string} chat @param {string | Part[]} content @param {{busy?: string, client_id?: string}} [options] @param {string} [key] */
  send(chat, content, options = {}, key) { return this.ask("POST", `${at(chat)}/messages`, { content, ...options }, key); }
  /** It and all that follows goes, and the new text is answered. @param {string} chat @param {number} message @param {string | Part[]} content @param {string} [key] */
  edit(chat, message, content, key) { return this.ask("PATCH", `${at(chat)}/messages/${message}`, { content }, key); }
  /** The last message of a user is answered again. @param {string} chat */
  regenerate(chat) { return this.ask("POST", `${at(chat)}/regenerate`, {}); }
  /** What was said stays. @param {string} chat */
  interrupt(chat) { return this.ask("POST", `${at(chat)}/interrupt`, {}); }
  /** Takes back what waits. @param {string} chat @param {number} queued */
  withdraw(chat, queued) { return this.ask("DELETE", `${at(chat)}/queue/${queued}`); }
  /** What waits is answered now. @param {string} chat @param {number} queued */
  promote(chat, queued) { return this.ask("POST", `${at(chat)}/queue/${queued}/promote`, {}); }
  /** @param {string} chat @param {{tool_call_id: string, content: string | Part[], is_error?: boolean}[]} results */
  answerCalls(chat, results) { return this.ask("POST", `${at(chat)}/tool_results`, { results }); }

  /**
   * Follows a chat until it is closed. `changed` is called with the view, and the events that made it what it is: none, if only
   * the connection has changed.
   * @param {string} chat @param {(view: View, events: StreamEvent[]) => void} changed
   */
  watch(chat, changed) {
    const view = emptyView();
    const closing = new AbortController();
    this.#follow(chat, view, (events) => closing.signal.aborted || changed(view, events), closing.signal);
    return { view, close: () => closing.abort() };
  }

  /** @param {string} chat @param {View} view @param {(events: StreamEvent[]) => void} changed @param {AbortSignal} closed */
  async #follow(chat, view, changed, closed) {
    let cursor = "";
    for (let failed = 0; !closed.aborted; failed += 1) {
      const attending = new Attention(closed);
      try {
        for await (const events of this.#events(chat, cursor, attending)) {
          failed = 0;
          view.connection = "live";
          events.forEach((event) => apply(view, event));
          cursor = events[events.length - 1].cursor;
          changed(events);
        }
      } catch (error) {
        if (error instanceof Problem && !error.isPassing) {
          Object.assign(view, { connection: "ended", problem: error });
          return changed([]);
        }
      } finally {
        attending.end();
      }
      if (!attending.isAway) view.connection = "lost";
      changed([]);
      await comingBack(pauseBefore(failed + 1), closed);
    }
  }

  /** @param {string} chat @param {string} cursor @param {Attention} attending @returns {AsyncGenerator<StreamEvent[]>} */
  async *#events(chat, cursor, attending) {
    const path = `${at(chat)}/stream${cursor && `?after=${cursor}`}`;
    const response = await this.#fetch("GET", path, { signal: attending.signal });
    const reader = /** @type {ReadableStream} */ (response.body).pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      attending.heard();
      const { value, done } = await reader.read();
      if (done) return;
      const ended = (rest + value).lastIndexOf("\n\n") + 1;
      const whole = (rest + value).slice(0, ended);
      rest = (rest + value).slice(ended);
      const data = whole.split("\n").filter((line) => line.startsWith("data: "));
      if (data.length > 0) yield data.map((line) => JSON.parse(line.slice(6)));
    }
  }
}

/** Whether somebody looks, and something is heard. Else its signal ends the stream. */
class Attention {
  #abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #hidden;
  isAway = false;

  /** @param {AbortSignal} closed */
  constructor(closed) {
    this.closed = closed;
    this.signal = this.#abort.signal;
    this.leave = () => this.#abort.abort();
    this.look = () => {
      clearTimeout(this.#hidden);
      if (isHidden()) this.#hidden = setTimeout(() => { this.isAway = true; this.leave(); }, HIDDEN_MAX);
    };
    closed.addEventListener("abort", this.leave);
    globalThis.addEventListener?.("offline", this.leave);
    globalThis.document?.addEventListener("visibilitychange", this.look);
    this.look();
    this.heard();
  }

  heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(this.leave, SILENCE_MAX);
  }

  end() {
    clearTimeout(this.#silence);
    clearTimeout(this.#hidden);
    this.closed.removeEventListener("abort", this.leave);
    globalThis.removeEventListener?.("offline", this.leave);
    globalThis.document?.removeEventListener("visibilitychange", this.look);
    this.leave();
  }
}

/** @param {string} chat */
const at = (chat) => `/v1/chats/${encodeURIComponent(chat)}`;
const isHidden = () => globalThis.document?.visibilityState === "hidden";
/** Not all clients at once. @param {number} tried */
const pauseBefore = (tried) => Math.random() * Math.min(PAUSE_MAX, PAUSE_FIRST * 2 ** (tried - 1));
/** @param {EventTarget | undefined} target @param {string} name @param {AbortSignal} [signal] */
const heard = (target, name, signal) => new Promise((resolve) => target?.addEventListener(name, resolve, { once: true, signal }));
const pause = (/** @type {number} */ ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A pause that ends when there is a network again, and lasts while nobody looks. @param {number} ms @param {AbortSignal} closed */
async function comingBack(ms, closed) {
  const over = heard(closed, "abort");
  await Promise.race([pause(ms), heard(globalThis.window, "online", closed), over]);
  while (isHidden() && !closed.aborted) await Promise.race([heard(globalThis.document, "visibilitychange", closed), over]);
}
