// The page: selection, search, filters and keys.

class Page {
  constructor() {
    const id = (name) => document.getElementById(name);
    this.id = id;
    this.run = new Run(JSON.parse(id("data").textContent));
    this.filter = new Filter();
    // Most log lines repeat what the other events show.
    this.filter.hidden.add("logged");
    this.diagram = new Diagram(this.run, this.filter, id("diagram"), id("canvas"), id("sheet"));
    this.list = new List(this.run, this.filter, id("list"), id("rows"), id("details"));
    this.chosen = null;
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
    this.fillHeader();
    this.listen();
    this.list.tell(null);
    this.arrange();
    const { broken } = this.run;
    const start = broken ?? this.run.happenings.find((one) => one.kind === "story");
    if (broken) this.choose(broken, 0.62);
    else if (start) {
      this.diagram.reveal(start, 0.12);
      this.list.show(start, 0);
    }
  }

  fillHeader() {
    const { run, id } = this;
    id("title").textContent = run.title;
    const verdict = id("verdict");
    verdict.textContent = run.verdict.clean ? "✓ clean" : `✗ ${run.verdict.title}`;
    verdict.className = run.verdict.clean ? "clean" : "failed";
    if (run.broken) verdict.title = "Go to where it was found (b)";
    const sent = run.happenings.filter((one) => one.kind === "arrow").length;
    const dropped = run.dropped > 0 ? ` · ${run.dropped} more not kept` : "";
    id("facts").textContent = `seed ${run.seed} · ${span(run.end)} simulated · ${run.happenings.length - sent} lines · `
      + `${sent} messages${dropped} · digest ${run.digest}`;
    const kinds = [["client", "clients"], ["relay", "relay"], ["database", "database"], ["bus", "bus"], ["logged", "log"]];
    for (const [kind, name] of kinds) {
      const button = part("button", kind, "");
      button.type = "button";
      button.append(part("i"), part("span", "", name));
      button.setAttribute("aria-pressed", String(!this.filter.hidden.has(kind)));
      button.addEventListener("click", () => this.toggle(kind, button));
      id("legend").append(button);
    }
    for (const [fault, count] of run.faults) {
      const button = part("button", "", count > 1 ? `↯ ${fault} × ${count}` : `↯ ${fault}`);
      button.type = "button";
      button.title = `Find ${fault}`;
      button.addEventListener("click", () => this.search(fault));
      id("faults").append(button);
    }
  }

  listen() {
    const { id, diagram } = this;
    const host = id("diagram");
    id("verdict").addEventListener("click", () => this.run.broken && this.choose(this.run.broken));
    id("zoom-in").addEventListener("click", () => diagram.zoomTo(diagram.zoom * 1.4));
    id("zoom-out").addEventListener("click", () => diagram.zoomTo(diagram.zoom / 1.4));
    id("zoom-fit").addEventListener("click", () => diagram.fit());
    id("fold").addEventListener("click", () => this.fold());
    id("theme").addEventListener("click", () => this.setTheme(document.documentElement.dataset.theme !== "dark"));
    id("help").addEventListener("click", () => id("keys").showModal());
    id("search").addEventListener("input", (event) => this.search(event.target.value));
    id("rows").addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(this.run.happenings[Number(row.dataset.index)]);
    });
    host.addEventListener("scroll", () => this.redraw());
    host.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      diagram.zoomTo(diagram.zoom * Math.exp(-event.deltaY / 250), event.clientY - host.getBoundingClientRect().top);
    }, { passive: false });
    this.listenToDrag(host);
    new ResizeObserver(() => {
      diagram.measure();
      diagram.draw();
      this.list.draw();
    }).observe(host);
    document.addEventListener("keydown", (event) => this.key(event));
  }

  listenToDrag(host) {
    const point = (event) => {
      const box = host.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let from = null;
    host.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target !== this.id("canvas")) return;
      from = { x: event.clientX, y: event.clientY, left: host.scrollLeft, top: host.scrollTop, moved: false };
    });
    window.addEventListener("pointermove", (event) => {
      if (!from) {
        if (event.target === this.id("canvas")) host.classList.toggle("pointing", this.diagram.hit(...point(event)) !== null);
        return;
      }
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      from.moved ||= Math.hypot(dx, dy) > 4;
      if (!from.moved || event.pointerType === "touch") return;
      host.classList.add("dragging");
      host.scrollTo(from.left - dx, from.top - dy);
    });
    window.addEventListener("pointerup", (event) => {
      if (from && !from.moved) this.choose(this.diagram.hit(...point(event)));
      from = null;
      host.classList.remove("dragging");
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.id("keys").open) return;
    const field = this.id("search");
    if (event.target === field) {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.leaveSearch();
      else return;
      event.preventDefault();
      return;
    }
    const { diagram } = this;
    const inList = document.activeElement === this.id("list");
    const actions = {
      "/": () => field.focus(),
      Escape: () => this.leaveSearch(),
      j: () => this.step(1),
      k: () => this.step(-1),
      f: () => this.step(1, (one) => one.kind === "fault"),
      F: () => this.step(-1, (one) => one.kind === "fault"),
      b: () => this.run.broken && this.choose(this.run.broken),
      "+": () => diagram.zoomTo(diagram.zoom * 1.4),
      "=": () => diagram.zoomTo(diagram.zoom * 1.4),
      "-": () => diagram.zoomTo(diagram.zoom / 1.4),
      0: () => diagram.fit(),
      z: () => this.fold(),
      t: () => this.id("theme").click(),
      "?": () => this.id("keys").showModal(),
    };
    if (inList) {
      Object.assign(actions, { ArrowDown: actions.j, ArrowUp: actions.k, PageDown: () => this.step(10), PageUp: () => this.step(-10),
        Home: () => this.choose(this.list.shown[0]), End: () => this.choose(this.list.shown.at(-1)) });
    }
    if (!Object.hasOwn(actions, event.key)) return;
    actions[event.key]();
    event.preventDefault();
  }

  leaveSearch() {
    this.id("search").blur();
    this.search("");
  }

  // Selects the next event in the list, or the next one for which `wanted` holds.
  step(by, wanted = () => true) {
    const among = this.list.shown.filter(wanted);
    if (among.length === 0) return;
    const at = this.chosen ? this.chosen.index : by > 0 ? -1 : Infinity;
    const next = among.findIndex((one) => one.index > at);
    const before = among.findLastIndex((one) => one.index < at);
    const from = by > 0 ? (next < 0 ? among.length - 1 : next + by - 1) : (before < 0 ? 0 : before + by + 1);
    this.choose(among[Math.max(0, Math.min(among.length - 1, from))]);
  }

  choose(one, share) {
    this.chosen = one ?? null;
    this.diagram.chosen = this.chosen;
    this.list.choose(this.chosen);
    if (this.chosen) this.diagram.reveal(this.chosen, share);
    this.diagram.draw();
  }

  search(text) {
    const field = this.id("search");
    if (field.value !== text) field.value = text;
    this.filter.query = text.trim().toLowerCase();
    this.list.arrange();
    this.id("found").textContent = this.filter.query === "" ? "" : `${this.list.shown.length} of ${this.run.happenings.length}`;
    if (this.filter.query !== "" && this.list.shown.length > 0 && !(this.chosen && this.filter.means(this.chosen))) this.choose(this.list.shown[0]);
    this.diagram.draw();
  }

  toggle(kind, button) {
    const { hidden } = this.filter;
    if (!hidden.delete(kind)) hidden.add(kind);
    button.setAttribute("aria-pressed", String(!hidden.has(kind)));
    this.keepingPlace(() => this.arrange());
  }

  fold() {
    this.keepingPlace(() => {
      this.diagram.folds = !this.diagram.folds;
      this.id("fold").setAttribute("aria-pressed", String(this.diagram.folds));
      this.arrange();
    });
  }

  // The selected event stays at the same height, whatever changes above it.
  keepingPlace(change) {
    const { diagram } = this;
    const seen = this.chosen && diagram.y(this.chosen.at) > 0 && diagram.y(this.chosen.at) < diagram.height;
    const time = seen ? this.chosen.at : diagram.time(diagram.height / 3);
    const y = diagram.y(time);
    change();
    diagram.host.scrollTop += diagram.y(time) - y;
    diagram.draw();
  }

  arrange() {
    this.diagram.arrange();
    this.list.arrange();
    this.diagram.draw();
  }

  setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    this.diagram.restyle();
    if (this.diagram.scale) this.diagram.draw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.diagram.draw();
    });
  }
}
