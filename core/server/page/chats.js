// The list of chats: newest first, more as it is scrolled, each with its name and what can be done with it.

import { element } from "./markdown.js";

export class Chats {
  #server;
  #nodes;
  #can;
  #chats = [];
  #next = null;
  #isWhole = false;
  #loading = null;
  #current = null;

  /** `can`: `open`, `rename`, `remove`, `fail`. */
  constructor(server, nodes, can) {
    this.#server = server;
    this.#nodes = nodes;
    this.#can = can;
    nodes.filter.addEventListener("input", () => {
      this.#show();
      this.#more();
    });
    new IntersectionObserver(() => this.#more()).observe(nodes.end);
  }

  get current() {
    return this.#current;
  }

  set current(chat) {
    this.#current = chat;
    this.#show();
  }

  title(chat) {
    return this.#chats.find(({ id }) => id === chat)?.title;
  }

  /** Loads the newest again; what was loaded behind them stays. */
  async refresh() {
    await this.#loading;
    this.#loading = this.#server.list(null).then((page) => {
      const known = new Set(page.chats.map(({ id }) => id));
      const last = page.chats.at(-1);
      const older = this.#chats.filter(({ id }) => !known.has(id) && last !== undefined && id < last.id);
      if (this.#chats.length === 0 || older.length === 0) {
        this.#next = page.next;
        this.#isWhole = page.next === null;
      }
      this.#chats = [...page.chats, ...(page.next === null ? [] : older)];
    });
    await this.#settle();
  }

  async #more() {
    if (this.#loading || this.#isWhole || this.#next === null || !this.#isEndSeen()) return;
    this.#loading = this.#server.list(this.#next).then((page) => {
      this.#chats.push(...page.chats);
      this.#next = page.next;
      this.#isWhole = page.next === null;
    });
    await this.#settle();
    requestAnimationFrame(() => this.#more());
  }

  async #settle() {
    try {
      await this.#loading;
    } catch (problem) {
      this.#can.fail(problem);
    } finally {
      this.#loading = null;
    }
    this.#show();
  }

  #isEndSeen() {
    const end = this.#nodes.end.getBoundingClientRect();
    return end.width > 0 && end.top < innerHeight * 1.5;
  }

  #show() {
    const sought = this.#nodes.filter.value.trim().toLowerCase();
    const focused = document.activeElement?.dataset?.chat;
    const entries = this.#chats.filter(({ title }) => named(title).toLowerCase().includes(sought)).map((chat) => {
      const entry = element("li");
      const link = element("a", { href: `/?chat=${encodeURIComponent(chat.id)}` }, named(chat.title));
      link.dataset.chat = chat.id;
      if (chat.id === this.#current) link.setAttribute("aria-current", "page");
      entry.append(link);
      for (const [sign, words, act] of [["✎", "Rename", this.#can.rename], ["×", "Delete", this.#can.remove]]) {
        const button = element("button", { type: "button" }, sign);
        button.setAttribute("aria-label", `${words} ${named(chat.title)}`);
        button.addEventListener("click", () => act(chat));
        entry.append(button);
      }
      return entry;
    });
    this.#nodes.list.replaceChildren(...entries);
    if (focused) this.#nodes.list.querySelector(`a[data-chat="${CSS.escape(focused)}"]`)?.focus();
    const nothing = sought ? "No chat has that in its title." : "No chats yet.";
    this.#nodes.end.textContent = entries.length > 0 ? "" : this.#isWhole ? nothing : "…";
  }
}

function named(title) {
  return title || "A chat without a title";
}
