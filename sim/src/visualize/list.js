// The same events as a list. Only visible rows are in the document.

const ROW_HEIGHT = 24;

class List {
  constructor(run, filter, host, rows, details) {
    Object.assign(this, { run, filter, host, rows, details, shown: [], chosen: null });
    host.addEventListener("scroll", () => this.draw());
  }

  arrange() {
    const { filter } = this;
    this.shown = this.run.happenings.filter((one) => filter.shows(one) && filter.means(one));
    this.rows.style.height = `${this.shown.length * ROW_HEIGHT}px`;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.host.scrollTop / ROW_HEIGHT) - 4);
    const count = Math.ceil(this.host.clientHeight / ROW_HEIGHT) + 8;
    const rows = this.shown.slice(first, first + count).map((one, offset) => this.row(one, first + offset));
    this.rows.replaceChildren(...rows);
    const chosen = this.chosen && document.getElementById(`row-${this.chosen.index}`);
    if (chosen) this.host.setAttribute("aria-activedescendant", chosen.id);
    else this.host.removeAttribute("aria-activedescendant");
  }

  row(one, place) {
    const row = part("div", `row ${one.kind} ${one.fate ?? ""}`);
    row.id = `row-${one.index}`;
    row.dataset.index = one.index;
    row.style.top = `${place * ROW_HEIGHT}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(one === this.chosen));
    row.setAttribute("aria-setsize", this.shown.length);
    row.setAttribute("aria-posinset", place + 1);
    if (this.shown[place - 1]?.at === one.at) row.classList.add("same");
    const what = part("span", "what", one.text.replace(/^fault: /, "↯ ").replace(/\s*\n\s*/g, " · "));
    if (one.kind === "arrow") {
      const took = one.fate === "arrived" ? `  +${span(one.end - one.at)}` : `  ${one.fate}`;
      what.append(part("span", "took", took));
    }
    row.append(part("span", "at", clock(one.at)), part("span", `who ${one.way ?? ""}`, one.who), what);
    return row;
  }

  choose(one) {
    this.chosen = one;
    this.show(one, 0.5);
    this.tell(one);
  }

  // Scrolls a row into view.
  show(one, share) {
    const place = this.shown.indexOf(one);
    if (place >= 0) {
      const top = place * ROW_HEIGHT;
      const bottom = top + ROW_HEIGHT - this.host.clientHeight;
      if (top < this.host.scrollTop + ROW_HEIGHT || bottom > this.host.scrollTop - ROW_HEIGHT) {
        this.host.scrollTop = top - this.host.clientHeight * share;
      }
    }
    this.draw();
  }

  tell(one) {
    if (!one) {
      const hint = "Choose something, in the diagram or above. Press ? for the keys.";
      this.details.replaceChildren(part("p", "hint", hint));
      return;
    }
    const facts = [["when", `${clock(one.at)} s`]];
    if (one.kind === "arrow") {
      facts.push(["from", this.run.lanes[one.from].name], ["to", this.run.lanes[one.to].name], ["by", one.way]);
      if (one.fate === "arrived") facts.push(["arrived", `${clock(one.end)} s`], ["took", span(one.end - one.at)]);
      else facts.push(["fate", one.fate === "lost" ? `lost at ${clock(one.end)} s` : one.fate]);
    } else {
      facts.push(["what it is", { done: "what somebody did", story: "the story", fault: "a fault that landed", logged: "a log line", error: "an error in the log", broken: "a broken guarantee" }[one.kind]]);
    }
    const list = part("dl");
    for (const [name, value] of facts) list.append(part("dt", "", name), part("dd", "", value));
    const body = part("p", "", one.text);
    this.details.replaceChildren(part("h2", one.way ?? "", one.who), body, list);
  }
}

// Text of users or models is never interpreted as markup.
function part(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name.trim() !== "") element.className = name.trim();
  if (text !== "") element.textContent = text;
  return element;
}
