// The messages of a chat, the answer that is being told, and what is yet to be sent: a list whose entries stay while they can.

import { element } from "./markdown.js";
import { Content, textOf } from "./parts.js";

/** An answer that takes longer than this, in milliseconds, says for how long it has been coming. */
const LONG = 5000;
/** So near to its end the log follows what comes, in pixels. */
const NEAR = 64;

class Entry {
  node = element("li");
  #heading = this.node.appendChild(element("h2"));
  content;
  #life = element("p", { className: "life", hidden: true });
  #meta = element("div", { className: "meta" });
  message = null;
  #told = "";

  constructor(isUsers) {
    this.node.className = isUsers ? "user" : "answer";
    this.#heading.textContent = isUsers ? "You" : "Answer";
    this.content = new Content(isUsers);
    this.node.append(this.content.node, this.#life, this.#meta);
  }

  show(parts, isWhole) {
    this.content.show(parts, isWhole);
    if (isWhole) this.content.node.removeAttribute("aria-busy");
    else this.content.node.setAttribute("aria-busy", "true");
  }

  live(text) {
    this.#life.hidden = text === "";
    if (this.#life.textContent !== text) this.#life.textContent = text;
  }

  /** What stands below it, and what can be done: names and what their buttons do. Those that are the same stay. */
  tell(words, actions) {
    const told = JSON.stringify([words, actions.map(([name]) => name)]);
    if (told === this.#told) return;
    this.#told = told;
    const buttons = actions.map(([name, act, label]) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", act);
      if (label) button.setAttribute("aria-label", label);
      return button;
    });
    this.#meta.replaceChildren(...(words ? [element("span", {}, words)] : []), ...buttons);
  }
}

export class Log {
  #root;
  #scroll;
  #latest;
  #can;
  #entries = new Map();
  #follows = true;
  #seen = { scrollTop: 0, scrollHeight: 0, clientHeight: 0 };
  #since = 0;

  /** `can`: what can be done with messages: `copy`, `edit`, `regenerate`, `again`, `discard`. */
  constructor({ root, scroll, latest }, can) {
    this.#root = root;
    this.#scroll = scroll;
    this.#latest = latest;
    this.#can = can;
    scroll.addEventListener("scroll", () => this.#look(), { passive: true });
    latest.addEventListener("click", () => this.toEnd());
    const resized = new ResizeObserver(() => this.#follow());
    resized.observe(scroll);
    resized.observe(root);
  }

  get isNearEnd() {
    return this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight <= NEAR;
  }

  /** Who scrolls up lets go. What is above may have become longer as well, which is nobody's wish. */
  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    const isSame = this.#seen.scrollHeight === scrollHeight && this.#seen.clientHeight === clientHeight;
    if (this.isNearEnd) this.#follows = true;
    else if (isSame && scrollTop < this.#seen.scrollTop) this.#follows = false;
    this.#seen = { scrollTop, scrollHeight, clientHeight };
    this.#latest.hidden = this.#follows;
  }

  #follow() {
    if (this.#follows) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#look();
  }

  toEnd() {
    this.#follows = true;
    this.#follow();
  }

  clear() {
    this.#entries.clear();
    this.#root.replaceChildren();
    this.#follows = true;
  }

  /** Shows the view, and behind it what is on its way to the server. */
  show(view, outbox) {
    const wanted = [];
    const isRunning = view.status === "running" || view.status === "interrupting";
    const calls = new Map();
    const lastAnswer = view.messages.findLast((message) => message.role !== "system");
    for (const message of view.messages) {
      if (message.role === "tool") continue;
      const key = `m${message.id}`;
      const entry = this.#entryOf(key, message);
      if (entry.message !== message) {
        entry.message = message;
        entry.live("");
        entry.show(message.content, true);
      }
      if (message.role === "user") {
        entry.tell("", [["Copy", () => this.#can.copy(textOf(message.content))], ["Edit", () => this.#can.edit(message)]]);
      } else {
        const actions = [["Copy", () => this.#can.copy(textOf(message.content)), "Copy the answer as Markdown"]];
        if (message === lastAnswer && !isRunning) actions.push(["Regenerate", this.#can.regenerate]);
        entry.tell(endOf(message), actions);
      }
      entry.content.calls.forEach((call, id) => calls.set(id, call));
      wanted.push([key, entry]);
    }
    if (isRunning) {
      const entry = this.#entries.get("preview") ?? new Entry(false);
      if (!this.#entries.has("preview")) this.#since = performance.now();
      entry.show(view.blocks, false);
      entry.live(this.#lifeOf(view));
      entry.tell("", []);
      entry.content.calls.forEach((call, id) => calls.set(id, call));
      wanted.push(["preview", entry]);
    }
    for (const item of outbox) {
      const key = `o${item.name}`;
      const entry = this.#entries.get(key) ?? new Entry(true);
      entry.node.classList.add("pending");
      entry.show([{ type: "text", text: item.text }], true);
      const actions = [["Send again", () => this.#can.again(item)], ["Discard", () => this.#can.discard(item)]];
      entry.tell(item.problem ?? "Sending…", item.problem ? actions : []);
      wanted.push([key, entry]);
    }
    for (const message of view.messages) {
      if (message.role !== "tool") continue;
      message.content.forEach((part) => calls.get(part.tool_call_id)?.showResult(part));
    }
    this.#entries = new Map(wanted);
    wanted.forEach(([, { node }], at) => {
      if (this.#root.children[at] !== node) this.#root.insertBefore(node, this.#root.children[at] ?? null);
    });
    while (this.#root.children.length > wanted.length) this.#root.lastElementChild.remove();
    this.#follow();
  }

  /** The entry of a message. What was shown of an answer, or of what was sent, becomes it. */
  #entryOf(key, message) {
    const known = this.#entries.get(key);
    if (known) return known;
    const before = message.role === "assistant" ? "preview" : `o${message.client_id}`;
    const entry = this.#entries.get(before);
    this.#entries.delete(before);
    entry?.node.classList.remove("pending");
    return entry ?? new Entry(message.role === "user");
  }

  #lifeOf(view) {
    if (view.status === "interrupting") return "Stopping…";
    if (view.retry) return `It failed, and is tried again: ${view.retry.error?.message ?? ""}`;
    if (view.replaced) return "What was here is replaced by another attempt.";
    const seconds = Math.round((performance.now() - this.#since) / 1000);
    const isLong = seconds * 1000 >= LONG;
    if (view.blocks.length > 0) return isLong ? `${seconds} s` : "";
    return isLong ? `An answer is coming, for ${seconds} s now` : "An answer is coming";
  }
}

function endOf(message) {
  if (message.interrupted) return "Stopped here.";
  if (message.finish_reason === "length") return "Ends here: it was as long as it may be.";
  if (message.finish_reason === "content_filter") return "Ends here: the model's provider withheld the rest.";
  return "";
}
