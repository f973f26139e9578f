// The data of the run: lanes, and all events in the order of time.

const KINDS = ["done", "story", "fault", "logged", "error", "broken"];
const WAYS = ["client", "relay", "database", "bus"];
const FATES = ["under way", "arrived", "lost"];

class Run {
  constructor(data) {
    Object.assign(this, { title: data.title, seed: data.seed, digest: data.digest, verdict: data.verdict });
    this.faults = data.faults;
    this.dropped = data.dropped;
    this.lanes = data.lanes;
    this.spans = data.spans.map(([lane, state, from, to]) => ({ lane, state, from, to }));
    const laneOf = new Map(data.lanes.map((lane, index) => [lane.name, index]));
    const lines = data.lines.map(([at, who, kind, text]) => {
      const name = data.texts[who];
      return { at, end: at, who: name, lane: laneOf.get(name) ?? -1, kind: KINDS[kind], text: data.texts[text] };
    });
    const arrows = data.arrows.map(([from, to, way, label, at, fate, end]) => ({
      at, end, from, to, way: WAYS[way], kind: "arrow", text: data.texts[label], fate: FATES[fate],
      who: `${this.lanes[from].name} → ${this.lanes[to].name}`, lane: from,
    }));
    // Sorting is stable: lines of a moment come before arrows sent in it.
    this.happenings = lines.concat(arrows).sort((a, b) => a.at - b.at);
    this.happenings.forEach((one, index) => {
      one.index = index;
      one.haystack = `${one.who} ${one.text} ${one.kind} ${one.fate ?? ""} ${one.way ?? ""}`.toLowerCase();
    });
    this.end = this.happenings.reduce((end, one) => Math.max(end, one.end), 0);
    this.broken = this.happenings.find((one) => one.kind === "broken") ?? null;
  }
}

// Which events are shown, and which of them match the search.
class Filter {
  constructor() {
    this.hidden = new Set();
    this.query = "";
  }

  shows(one) {
    return !this.hidden.has(one.way ?? one.kind);
  }

  means(one) {
    return this.query === "" || one.haystack.includes(this.query);
  }
}

function clock(micros) {
  return `${Math.floor(micros / 1e6)}.${String(Math.floor(micros % 1e6)).padStart(6, "0")}`;
}

function span(micros) {
  if (micros < 1000) return `${micros} µs`;
  if (micros < 1e6) return `${+(micros / 1000).toFixed(micros < 1e4 ? 1 : 0)} ms`;
  return `${+(micros / 1e6).toFixed(micros < 1e7 ? 2 : 1)} s`;
}
