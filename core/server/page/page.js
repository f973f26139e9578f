// The chat page: what is pressed and typed becomes requests, and what a chat tells is shown.

import { Announcer } from "./announcer.js";
import { Chats } from "./chats.js";
import { Log } from "./log.js";
import { Mainstem, newName } from "/mainstem.js";
import { textOf } from "./parts.js";
import { ask, tell } from "./dialogs.js";

const TITLE_LENGTH_MAX = 60;
/** A connection that is lost for so long, in milliseconds, is spoken of. */
const LOST_MIN = 1000;
const at = (id) => document.getElementById(id);
const [field, go, enqueue, scroll] = ["field", "go", "enqueue", "scroll"].map(at);
const server = new Mainstem({ token: localStorage.getItem("mainstem.token") });
const announcer = new Announcer(at("said"));

/** Chats that were opened, each with what is on its way to it. `chat` is null of one that is yet to be. */
const places = new Map();
let here = { chat: null, outbox: [] };
let watch = null;
/** The message that is being edited. */
let edited = null;
let drawn = 0;
let sending = Promise.resolve();

const log = new Log({ root: at("log"), scroll, latest: at("latest") }, {
  copy, edit, again: deliver,
  regenerate: () => act(() => server.regenerate(here.chat)),
  discard: (item) => { item.place.outbox = item.place.outbox.filter((other) => other !== item); draw(); },
});
const chats = new Chats(server, { list: at("list"), end: at("list-end"), filter: at("filter") }, { rename, remove, fail });

// --- what is open

const named = () => new URLSearchParams(location.search).get("chat");

function open(id) {
  keepDraft();
  watch?.close();
  here = places.get(id) ?? { chat: id, outbox: [] };
  places.set(id, here);
  [watch, edited] = [null, null];
  log.clear();
  alert("");
  chats.current = id;
  showChats(false);
  field.value = localStorage.getItem(draftOf()) ?? "";
  grow();
  if (id !== null) follow();
  draw();
  field.focus({ preventScroll: true });
}

function follow() {
  watch = server.watch(here.chat, (view, events) => {
    hear(view, events);
    draw();
    if (view.connection === "ended") ended(view.problem);
  });
}

function ended(problem) {
  if (problem.status === 401) signIn();
  else alert(problem.status === 404 ? "There is no such chat, or not any more." : wordsOf(problem));
}

function go_to(id, replaces = false) {
  const url = id === null ? "/" : `/?chat=${encodeURIComponent(id)}`;
  history[replaces ? "replaceState" : "pushState"](null, "", url);
}

addEventListener("popstate", () => open(named()));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-chat], #new");
  if (link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go_to(link.dataset.chat ?? null);
    open(named());
    return;
  }
  const copies = event.target.closest("[data-copies]");
  if (copies) copy(copies.closest("figure").querySelector("code").textContent);
});

// --- what is shown

function draw() {
  if (!drawn) drawn = requestAnimationFrame(drawNow);
}

function drawNow() {
  drawn = 0;
  const view = watch?.view;
  const shown = view ?? { messages: [], blocks: [], queue: [], calls: [], status: null };
  const arrived = new Set([...shown.messages, ...shown.queue].map(({ client_id }) => client_id));
  here.outbox = here.outbox.filter(({ name }) => !arrived.has(name));
  log.show(shown, here.outbox);
  at("empty").hidden = here.chat !== null || here.outbox.length > 0;
  at("queue").hidden = shown.queue.length === 0;
  drawQueue(shown.queue);
  drawCalls(shown.calls);
  drawConnection(view?.connection === "lost");
  at("editing").hidden = edited === null;
  go.textContent = edited ? "Replace" : isRunning() ? "Stop" : "Send";
  enqueue.hidden = !isRunning() || edited !== null || field.value.trim() === "";
  if (shown.error && at("alert").dataset.of !== shown.error.code) alert(`The answer failed: ${shown.error.message}`, "Try again", () => act(() => server.regenerate(here.chat)), shown.error.code);
  if (!shown.error && at("alert").dataset.of) alert("");
  const title = chats.title(here.chat) ?? (here.chat === null ? "New chat" : "Chat");
  at("title").textContent = title;
  document.title = here.chat === null ? "Mainstem" : `${title} · Mainstem`;
}

/** Which answer is coming tells its time. */
setInterval(() => { if (isRunning()) draw(); }, 1000);

function isRunning() {
  return ["running", "interrupting"].includes(watch?.view.status);
}

let lostFor = 0;
/** A connection that comes back at once is not spoken of. */
function drawConnection(isLost) {
  const line = at("connection");
  if (isLost === (lostFor !== 0)) return;
  clearTimeout(lostFor);
  lostFor = 0;
  line.hidden = true;
  if (isLost) lostFor = setTimeout(() => { line.hidden = false; }, LOST_MIN);
}

let queueDrawn = "";
function drawQueue(queue) {
  const now = JSON.stringify(queue);
  if (now === queueDrawn) return;
  queueDrawn = now;
  at("queued").replaceChildren(...queue.map((queued) => {
    const text = textOf(queued.content);
    const entry = document.createElement("li");
    entry.className = "queued";
    entry.append(Object.assign(document.createElement("span"), { textContent: text }));
    const back = () => server.withdraw(here.chat, queued.id);
    for (const [name, what] of [
      ["Take back", back],
      ["Edit", async () => { await back(); field.value = text; typed(); field.focus(); }],
      ["Send now", () => server.promote(here.chat, queued.id)],
    ]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.setAttribute("aria-label", `${name}: ${text.slice(0, 40)}`);
      button.addEventListener("click", () => act(what));
      entry.append(button);
    }
    return entry;
  }));
}

let called = "";
/** Calls that the client is to carry out: here its user does. */
async function drawCalls(calls) {
  const now = calls.map(({ id }) => id).join(" ");
  if (now === called) return;
  called = now;
  for (const { id, name, input } of calls) {
    const content = await ask({
      title: `The answer waits for you: ${name}`, text: JSON.stringify(input), label: "What comes of it", yes: "Answer", no: "Later",
    });
    if (content === null) {
      alert(`The answer waits for ${name}.`, "Answer", () => { called = ""; draw(); });
      return;
    }
    await act(() => server.answerCalls(here.chat, [{ tool_call_id: id, content }]));
  }
}

// --- what is heard

let wasRunning = false;
let wasLost = false;
function hear(view, events) {
  const isLost = view.connection === "lost";
  if (isLost !== wasLost && view.synced) announcer.say(isLost ? "The connection is lost." : "The connection is back.");
  wasLost = isLost;
  const runs = view.status === "running";
  if (runs && !wasRunning) announcer.begin();
  if (runs) announcer.tell(textOf(view.blocks));
  const last = events.findLast(({ type }) => type === "message")?.message;
  if (wasRunning && view.status === "waiting") announcer.say(last?.interrupted ? "Stopped." : "The answer is complete.");
  wasRunning = runs || (wasRunning && view.status === "interrupting");
}

/** Says what went wrong, and perhaps what to do. */
function alert(text, name = "", what = () => {}, of = "") {
  const box = at("alert");
  box.dataset.of = of;
  box.replaceChildren();
  if (text === "") return;
  const line = document.createElement("p");
  line.append(Object.assign(document.createElement("span"), { textContent: text }));
  for (const [words, does] of [[name, what], ["Close", () => {}]].filter(([words]) => words)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: words });
    button.addEventListener("click", () => { alert("", "", () => {}, of); does(); });
    line.append(button);
  }
  box.append(line);
}

function wordsOf(problem) {
  switch (problem.status) {
    case 0:
      return "The server does not answer. Is there a network?";
    case 403:
      return "This page may not use the server.";
    case 413:
      return "That is too large.";
    case 429:
      return `Too much at once. Wait ${problem.retryAfter ?? 1} s, then try again.`;
    case 503:
      return "The server cannot do that now. Try again in a moment.";
    default:
      return problem.code === "queue_full" ? "Too many messages wait already." : problem.message;
  }
}

function fail(problem) {
  if (problem.status === 401) signIn();
  else alert(wordsOf(problem));
}

/** Does what asks the server, and says so if it is refused. */
async function act(what) {
  try {
    return await what();
  } catch (problem) {
    fail(problem);
    return undefined;
  }
}

let asksForToken = false;
async function signIn() {
  if (asksForToken) return;
  asksForToken = true;
  const token = await ask({
    title: "Sign in", text: server.token ? "The server does not know this token." : "This server asks for a token.",
    label: "Token", yes: "Sign in", isSecret: true,
  });
  asksForToken = false;
  if (token === null) return alert("Without a token there is nothing to see.", "Sign in", signIn);
  server.token = token.trim();
  localStorage.setItem("mainstem.token", server.token);
  at("sign-out").hidden = false;
  await chats.refresh();
  open(named());
}

at("sign-out").hidden = server.token === null;
at("sign-out").addEventListener("click", () => {
  localStorage.removeItem("mainstem.token");
  location.assign("/");
});

// --- what is sent

function submit() {
  const text = field.value.trim() === "" ? "" : field.value;
  if (text === "") return;
  field.value = "";
  typed();
  field.focus();
  if (edited !== null) {
    const { id } = edited;
    edited = null;
    act(() => server.edit(here.chat, id, text)).then((done) => { if (done === undefined && field.value === "") field.value = text; draw(); });
    return;
  }
  const item = { name: newName(), text, problem: null, place: here };
  here.outbox.push(item);
  deliver(item);
  log.toEnd();
}

/** Sends it, behind what is being sent. Under its name it is never sent twice. */
function deliver(item) {
  item.problem = null;
  draw();
  sending = sending.then(async () => {
    const { place: { chat }, text, name } = item;
    try {
      if (chat === null) await create(item);
      else await server.send(chat, text, { client_id: name }, name);
    } catch (problem) {
      item.problem = wordsOf(problem);
      if (problem.status === 401) signIn();
    }
    draw();
  });
}

async function create(item) {
  const title = item.text.trim().split("\n")[0].slice(0, TITLE_LENGTH_MAX);
  const messages = [{ role: "user", content: item.text, client_id: item.name }];
  const created = await server.create({ external_id: item.name, title, messages }, item.name);
  places.delete(null);
  places.set(created.id, item.place);
  item.place.chat = created.id;
  if (item.place === here) {
    keepDraft();
    localStorage.removeItem(draftOf(null));
    go_to(created.id, true);
    chats.current = created.id;
    follow();
  }
  await chats.refresh();
}

function edit(message) {
  edited = message;
  field.value = textOf(message.content);
  typed();
  field.focus();
}

at("edit-cancel").addEventListener("click", stopEditing);
function stopEditing() {
  edited = null;
  field.value = "";
  typed();
  field.focus();
}

function stop() {
  if (isRunning()) act(async () => {
    try {
      await server.interrupt(here.chat);
    } catch (problem) {
      // It has just ended by itself.
      if (problem.code !== "not_running") throw problem;
    }
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announcer.say("Copied.");
  } catch {
    // Pages that came by plain HTTP have no clipboard.
    await tell({ title: "Copy it by hand", text });
  }
}

async function rename({ id, title }) {
  const name = await ask({ title: "Rename the chat", label: "Title", value: title ?? "", yes: "Rename" });
  if (name === null) return;
  await act(() => server.configure(id, { title: name }));
  await chats.refresh();
  draw();
}

async function remove({ id, title }) {
  const sure = await ask({ title: "Delete the chat?", text: `“${title || "A chat without a title"}” and all its messages go.`, yes: "Delete" });
  if (sure === null) return;
  const done = await act(async () => { await server.remove(id); return true; });
  if (done && id === here.chat) {
    go_to(null);
    open(null);
  }
  await chats.refresh();
}

// --- the field and the keys

const draftOf = (chat = here.chat) => `mainstem.draft.${chat ?? ""}`;

function keepDraft() {
  if (edited !== null) return;
  if (field.value === "") localStorage.removeItem(draftOf());
  else localStorage.setItem(draftOf(), field.value);
}

function typed() {
  grow();
  keepDraft();
  draw();
}

/** Where the style sheet's way is not known. */
function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

field.addEventListener("input", typed);
at("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
go.addEventListener("click", () => { if (isRunning() && edited === null) stop(); else submit(); });

field.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && (!event.shiftKey || event.ctrlKey || event.metaKey) && !event.altKey) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && field.value === "" && !event.shiftKey) {
    const last = watch?.view.messages.findLast(({ role }) => role === "user");
    if (last) {
      event.preventDefault();
      edit(last);
    }
  }
});

addEventListener("keydown", (event) => {
  const isControl = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (key === "escape") {
    if (event.shiftKey) field.focus();
    else if (at("chats").classList.contains("open")) showChats(false);
    else if (edited !== null) stopEditing();
    else stop();
  } else if (isControl && event.shiftKey && key === "o") {
    go_to(null);
    open(null);
  } else if (isControl && event.shiftKey && (key === ";" || key === ":")) {
    const last = [...document.querySelectorAll("#log figure.code code")].at(-1);
    if (last) copy(last.textContent);
  } else if (isControl && key === "/") {
    at("keys").showModal();
  } else {
    return;
  }
  event.preventDefault();
});

at("keys-button").addEventListener("click", () => at("keys").showModal());

function showChats(isOpen) {
  at("chats").classList.toggle("open", isOpen);
  at("chats-button").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) at("filter").focus();
}
at("chats-button").addEventListener("click", () => showChats(!at("chats").classList.contains("open")));

document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") chats.refresh(); });
document.addEventListener("selectionchange", draw);

open(named());
chats.refresh().then(draw);
