// Markdown as DOM nodes. What a model writes is text: no HTML of it is read, nothing is loaded, and links open apart.

/** Quotes and lists within each other, at most. */
const DEPTH_MAX = 12;

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: +|\t|$)/;
const QUOTE = /^ {0,3}> ?/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/**
 * The blocks of a text, each the lines that it is made of. A block that others follow does not change while the text
 * grows, so its nodes can stay.
 */
export function blocksOf(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (lines[at].trim() === "") {
      at += 1;
      continue;
    }
    const end = endOf(lines, at);
    blocks.push(lines.slice(at, end));
    at = end;
  }
  return blocks;
}

/** Behind which line the block ends that begins at this one. */
function endOf(lines, at) {
  const fence = FENCE.exec(lines[at]);
  if (fence) {
    const close = new RegExp(`^ {0,3}\\${fence[1][0]}{${fence[1].length},}[ \\t]*$`);
    for (let end = at + 1; end < lines.length; end += 1) {
      if (close.test(lines[end])) return end + 1;
    }
    return lines.length;
  }
  if (HEADING.test(lines[at]) || RULE.test(lines[at])) return at + 1;
  const isMath = lines[at].trim() === "$$" || lines[at].trim() === "\\[";
  if (isMath) {
    const close = lines[at].trim() === "$$" ? "$$" : "\\]";
    const end = lines.findIndex((line, other) => other > at && line.trim() === close);
    return end < 0 ? lines.length : end + 1;
  }
  const item = ITEM.exec(lines[at]);
  if (item) {
    let end = at + 1;
    for (; end < lines.length; end += 1) {
      const line = lines[end];
      const isBlank = line.trim() === "";
      const goesOn = !isBlank && (/^(?: {2,}|\t)/.test(line) || isSameList(ITEM.exec(line), item));
      const isLazy = !isBlank && lines[end - 1].trim() !== "" && !begins(line);
      const next = isBlank ? lines.slice(end).find((other) => other.trim() !== "") : undefined;
      const isGap = isBlank && next !== undefined && (/^(?: {2,}|\t)/.test(next) || isSameList(ITEM.exec(next), item));
      if (!goesOn && !isLazy && !isGap) break;
    }
    return end;
  }
  let end = at + 1;
  if (QUOTE.test(lines[at])) {
    while (end < lines.length && lines[end].trim() !== "" && (QUOTE.test(lines[end]) || !begins(lines[end]))) end += 1;
    return end;
  }
  if (isTable(lines, at)) {
    while (end < lines.length && lines[end].includes("|")) end += 1;
    return end;
  }
  while (end < lines.length && lines[end].trim() !== "" && !begins(lines[end]) && !isTable(lines, end)) end += 1;
  return end;
}

const isOrdered = (marker) => /\d/.test(marker);

function isSameList(one, other) {
  return one !== null && isOrdered(one[2]) === isOrdered(other[2]);
}

/** Whether a line ends the paragraph before it. */
function begins(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);
}

function isTable(lines, at) {
  return lines[at].includes("|") && at + 1 < lines.length && TABLE_RULE.test(lines[at + 1]);
}

/** The node of a block. */
export function nodeOf(lines, depth = 0) {
  const first = lines[0];
  const fence = FENCE.exec(first);
  if (fence) return code(lines, fence);
  const heading = HEADING.exec(first);
  if (heading) {
    // The page's own are above them.
    const node = element(`h${Math.min(heading[1].length + 2, 6)}`);
    return inline(node, heading[2] ?? "");
  }
  if (RULE.test(first)) return element("hr");
  if (["$$", "\\["].includes(first.trim())) return element("pre", { className: "math" }, lines.join("\n"));
  if (depth < DEPTH_MAX && QUOTE.test(first)) {
    const inner = lines.map((line) => line.replace(QUOTE, ""));
    return append(element("blockquote"), inner.join("\n"), depth + 1);
  }
  if (depth < DEPTH_MAX && ITEM.test(first)) return list(lines, depth);
  if (isTable(lines, 0)) return table(lines);
  return inline(element("p"), lines.map((line) => line.replace(/^[ \t]+/, "")).join("\n"));
}

function append(node, text, depth) {
  node.append(...blocksOf(text).map((lines) => nodeOf(lines, depth)));
  return node;
}

function code(lines, fence) {
  const close = new RegExp(`^ {0,3}\\${fence[1][0]}{${fence[1].length},}[ \\t]*$`);
  const isClosed = lines.length > 1 && close.test(lines[lines.length - 1]);
  const text = lines.slice(1, isClosed ? -1 : undefined).join("\n");
  const box = element("figure", { className: "code" });
  const caption = element("figcaption");
  const copy = element("button", { type: "button", className: "copy" }, "Copy");
  copy.dataset.copies = "code";
  copy.setAttribute("aria-label", `Copy the code${fence[2] ? `, ${fence[2]}` : ""}`);
  caption.append(element("span", {}, fence[2] || "text"), copy);
  const pre = element("pre", { tabIndex: 0 });
  pre.append(element("code", {}, text));
  box.append(caption, pre);
  return box;
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const node = element(isOrdered(first[2]) ? "ol" : "ul");
  if (isOrdered(first[2])) node.start = Number.parseInt(first[2], 10);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    const indent = items.at(-1)?.indent ?? 0;
    if (item && (items.length === 0 || item[1].length < indent)) {
      items.push({ indent: item[0].length, lines: [line.slice(item[0].length)] });
    } else {
      const spaces = /^[ \t]*/.exec(line)[0].length;
      items.at(-1).lines.push(line.slice(Math.min(spaces, indent)));
    }
  }
  for (const item of items) {
    const entry = element("li");
    const isDone = /^\[([ xX])\] /.exec(item.lines[0]);
    if (isDone) {
      item.lines[0] = item.lines[0].slice(4);
      entry.append(element("span", {}, isDone[1] === " " ? "☐ " : "☑ "));
    }
    const blocks = blocksOf(item.lines.join("\n"));
    const isTight = !item.lines.some((line) => line.trim() === "");
    for (const block of blocks) {
      const child = nodeOf(block, depth + 1);
      if (isTight && child.tagName === "P") entry.append(...child.childNodes);
      else entry.append(child);
    }
    node.append(entry);
  }
  return node;
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines) {
  const sides = cells(lines[1]).map((rule) => {
    const [left, right] = [rule.startsWith(":"), rule.endsWith(":")];
    return left && right ? "center" : right ? "right" : "left";
  });
  const row = (line, kind) => {
    const node = element("tr");
    const texts = cells(line);
    sides.forEach((side, at) => {
      const cell = inline(element(kind), texts[at] ?? "");
      cell.className = side;
      if (kind === "th") cell.scope = "col";
      node.append(cell);
    });
    return node;
  };
  const box = element("div", { className: "table", tabIndex: 0 });
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Table");
  const [node, head, body] = [element("table"), element("thead"), element("tbody")];
  head.append(row(lines[0], "th"));
  body.append(...lines.slice(2).map((line) => row(line, "td")));
  node.append(head, body);
  box.append(node);
  return box;
}

/** What has a meaning within a line, in the order in which it counts. */
const TOKEN = new RegExp(
  [
    "\\\\(?<escaped>[!-/:-@[-`{-~])",
    "(?<ticks>`+)",
    "(?<math>\\$\\$?|\\\\[(])",
    "(?<image>!\\[)",
    "(?<link>\\[)",
    "<(?<auto>https?://[^\\s<>]{1,2000})>",
    "(?<bare>https?://[^\\s<>\"'`]{1,2000})",
    "(?<mark>\\*\\*\\*|\\*\\*|\\*|___|__|_|~~)",
    "(?<br> {2,}\\n|\\n)",
  ].join("|"),
  "g",
);
const TARGET = /\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
const MARKS = { "*": ["em"], _: ["em"], "**": ["strong"], __: ["strong"], "***": ["strong", "em"], ___: ["strong", "em"], "~~": ["del"] };

/** Puts the text of a line, or of several, into the node. */
function inline(node, text, depth = 0) {
  let at = 0;
  /** What is known not to be closed behind here. */
  const open = new Set();
  const say = (end) => {
    if (end > at) node.append(text.slice(at, end));
  };
  const token = new RegExp(TOKEN);
  token.lastIndex = 0;
  for (let found; (found = token.exec(text)); ) {
    const { escaped, ticks, math, image, link, auto, bare, mark, br } = found.groups;
    const begin = found.index;
    const behind = begin + found[0].length;
    const close = (mark, from = behind) => {
      if (open.has(mark)) return -1;
      const end = text.indexOf(mark, from);
      if (end < 0) open.add(mark);
      return end;
    };
    let child = null;
    let end = behind;
    if (math) {
      const closing = math === "\\(" ? "\\)" : math;
      end = close(closing);
      const isMath = end > behind && (math !== "$" || isDollarMath(text, behind, end));
      if (isMath) child = element("span", { className: "math" }, text.slice(begin, end + closing.length));
      end += closing.length;
    } else if (escaped) {
      child = escaped;
    } else if (ticks) {
      end = close(ticks);
      while (end >= 0 && (text[end + ticks.length] === "`" || text[end - 1] === "`")) {
        end = text.indexOf(ticks, end + ticks.length);
      }
      if (end < 0) open.add(ticks);
      else {
        const said = text.slice(behind, end).replaceAll("\n", " ");
        child = element("code", {}, /^ .*[^ ].* $/.test(said) ? said.slice(1, -1) : said);
        end += ticks.length;
      }
    } else if (image || link) {
      const name = depth < DEPTH_MAX ? close("](") : -1;
      TARGET.lastIndex = name + 1;
      const target = name >= 0 ? TARGET.exec(text) : null;
      if (target) {
        const words = text.slice(behind, name);
        child = image
          ? linked(target[1], element("span", {}, `Image: ${words || target[1]}`))
          : linked(target[1], inline(element("span"), words, depth + 1));
        end = TARGET.lastIndex;
      }
    } else if (auto || bare) {
      const url = auto ?? bare.replace(/[.,;:!?)\]}*_~]+$/, (tail) => (bare.includes("(") && tail === ")" ? tail : ""));
      child = linked(url, url);
      end = auto ? behind : begin + url.length;
    } else if (mark) {
      const isWord = mark[0] === "_" && /\w/.test(text[begin - 1] ?? " ");
      const opens = depth < DEPTH_MAX && !isWord && /\S/.test(text[behind] ?? " ");
      end = opens ? close(mark, behind + 1) : -1;
      while (end >= 0 && (/\s/.test(text[end - 1]) || (mark.length === 1 && text[end + 1] === mark))) {
        end = text.indexOf(mark, end + mark.length + (text[end + 1] === mark ? 1 : 0));
      }
      if (opens && end < 0) open.add(mark);
      if (end >= 0) {
        const [outer, inner] = MARKS[mark];
        child = element(outer);
        inline(inner ? child.appendChild(element(inner)) : child, text.slice(behind, end), depth + 1);
        end += mark.length;
      }
    } else if (br) {
      child = br.length > 1 ? element("br") : "\n";
    }
    if (child === null) continue;
    say(begin);
    node.append(child);
    at = end;
    token.lastIndex = end;
  }
  say(text.length);
  return node;
}

/** A price is none. */
function isDollarMath(text, begin, end) {
  return /\S/.test(text[begin]) && /\S/.test(text[end - 1]) && !/\d/.test(text[end + 1] ?? "") && !text.slice(begin, end).includes("\n");
}

/** A link to somewhere else, or only its words. */
function linked(url, words) {
  const isSafe = /^(?:https?:\/\/|mailto:)/i.test(url);
  const node = element(isSafe ? "a" : "span");
  node.append(words);
  if (isSafe) Object.assign(node, { href: url, target: "_blank", rel: "noopener noreferrer" });
  return node;
}

/** An element with these properties and this text. */
export function element(name, properties = {}, text = "") {
  const node = document.createElement(name);
  Object.assign(node, properties);
  if (text !== "") node.textContent = text;
  return node;
}
