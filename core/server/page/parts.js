// The parts of a message as nodes that grow with them.

import { blocksOf, element, nodeOf } from "./markdown.js";

/** Whether the reader is selecting something in there, which must not jump. */
function isHeld(node) {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
}

/** A Markdown text. Only the nodes of blocks that changed are made anew. */
class Text {
  node = element("div", { className: "text" });
  #shown = [];

  show({ text = "" }, isWhole) {
    const blocks = blocksOf(text);
    const sources = blocks.map((lines) => lines.join("\n"));
    let same = 0;
    while (same < sources.length && sources[same] === this.#shown[same]) same += 1;
    const old = [...this.node.childNodes].slice(same);
    if (!isWhole && old.some(isHeld)) return;
    old.forEach((node) => node.remove());
    this.node.append(...blocks.slice(same).map((lines) => nodeOf(lines)));
    this.#shown = sources;
  }
}

/** What is folded, under a line of what it is. */
class Folded {
  node = element("details");
  summary = this.node.appendChild(element("summary"));
  inner = this.node.appendChild(element("div"));
}

class Reasoning extends Folded {
  #text = new Text();

  constructor() {
    super();
    this.inner.append(this.#text.node);
  }

  show(part, isWhole) {
    this.summary.textContent = isWhole ? "What it thought" : "It thinks…";
    this.#text.show(part, isWhole);
  }
}

class Call extends Folded {
  #input = this.inner.appendChild(element("pre", { tabIndex: 0 }));
  #output = this.inner.appendChild(element("pre", { tabIndex: 0, hidden: true }));
  #name = "";

  show(part, isWhole) {
    this.#name = part.name ?? "";
    const isCut = isWhole && part.input === undefined;
    this.#input.textContent = part.input === undefined ? (part.input_text ?? "") : JSON.stringify(part.input, null, 2);
    if (this.#output.hidden) {
      this.summary.textContent = isCut ? `The call of ${this.#name} was cut short` : `It calls ${this.#name}…`;
    }
  }

  /** What came of it. */
  showResult({ content, is_error }) {
    this.#output.hidden = false;
    this.#output.textContent = typeof content === "string" ? content : JSON.stringify(content, null, 2);
    this.summary.textContent = is_error ? `The call of ${this.#name} failed` : `It called ${this.#name}`;
  }
}

/** What comes whole. */
class Whole {
  node = element("p");

  show(part) {
    if (this.node.childNodes.length > 0) return;
    const isWeb = (url) => /^https?:\/\//i.test(url ?? "");
    const link = (url, text) => element("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text);
    if (part.type === "source" && isWeb(part.url)) {
      this.node.append("Source: ", link(part.url, part.title || part.url));
    } else if (part.type === "file" && isWeb(part.url)) {
      this.node.append("File: ", link(part.url, part.name || part.url));
    } else if (part.type === "file" && part.data) {
      const url = `data:application/octet-stream;base64,${part.data}`;
      this.node.append("File: ", element("a", { href: url, download: part.name || "file" }, part.name || part.media_type));
    } else {
      const folded = new Folded();
      folded.summary.textContent = part.name ? `Data: ${part.name}` : part.type;
      folded.inner.append(element("pre", { tabIndex: 0 }, JSON.stringify(part.data ?? part, null, 2)));
      this.node.append(folded.node);
    }
  }
}

/** What a user wrote stands as it was written. */
class Plain {
  node = element("div");

  show({ text = "" }) {
    if (this.node.textContent !== text) this.node.textContent = text;
  }
}

function partOf(type, isUsers) {
  switch (type) {
    case "text":
      return isUsers ? new Plain() : new Text();
    case "reasoning":
      return new Reasoning();
    case "tool_call":
      return new Call();
    default:
      return new Whole();
  }
}

/** The content of a message. */
export class Content {
  node = element("div", { className: "content" });
  /** Calls by their ids. */
  calls = new Map();
  #parts = [];
  #isUsers;

  constructor(isUsers) {
    this.#isUsers = isUsers;
  }

  /** Shows these parts. Those of an answer that is being told may grow, but for those with another behind them. */
  show(parts, isWhole) {
    while (this.#parts.length > parts.length) this.#parts.pop().view.node.remove();
    parts.forEach((part, at) => {
      let known = this.#parts[at];
      if (known?.type !== part.type) {
        known?.view.node.remove();
        known = { type: part.type, view: partOf(part.type, this.#isUsers) };
        this.#parts[at] = known;
        this.node.insertBefore(known.view.node, this.node.childNodes[at] ?? null);
      }
      known.view.show(part, isWhole || at < parts.length - 1);
      if (part.type === "tool_call") this.calls.set(part.id, known.view);
    });
  }
}

/** The text of a message, as it can be edited or copied. */
export function textOf(parts) {
  return parts.filter((part) => part.type === "text").map((part) => part.text).join("\n\n");
}
