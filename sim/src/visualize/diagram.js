// The space-time diagram: a lane for each participant, time downwards, and arrows from sending to arrival.
// Only what is visible is drawn, and events of the same kind within a few pixels are joined.

const HEAD = 46; // The height of the names of lanes.
const JOIN = 2.5; // Arrows that begin so close to each other, in pixels, are one.
const LANE_MIN = 54;
const LANE_MAX = 230;
const CROWD = 2000; // Where more arrows are in sight, none has words.

class Diagram extends Happenings {
  constructor(run, filter, host, canvas, sheet) {
    super();
    Object.assign(this, { run, filter, host, canvas, sheet });
    this.pen = canvas.getContext("2d");
    this.folds = true;
    this.zoom = 1;
    this.chosen = null;
    this.widths = new Map();
    this.drawn = { arrows: 0, joined: 0, lines: 0, lanes: 0, boxes: [], barred: [], shapes: [] };
    this.restyle();
  }

  // The page's current colours and fonts.
  restyle() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ground", "panel", "ink", "muted", "hairline", "lane", "client", "relay", "database", "bus",
      "fault", "fault-ground", "broken", "broken-ground", "good", "chosen"];
    this.colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.sans = style.getPropertyValue("--sans").trim();
    this.mono = style.getPropertyValue("--mono").trim();
    this.widths.clear();
  }

  // Recomputes the layout after a change of what is shown.
  arrange() {
    this.arrows = this.run.happenings.filter((one) => one.kind === "arrow" && this.filter.shows(one));
    this.lines = this.run.happenings.filter((one) => one.kind !== "arrow" && this.filter.shows(one));
    // The latest end of this arrow and all earlier ones: if it is above the view, so are all of them.
    this.ends = [];
    this.arrows.reduce((end, one, index) => (this.ends[index] = Math.max(end, one.end)), 0);
    const rooms = new Map();
    const touch = (time) => rooms.has(time) || rooms.set(time, { story: 0, lanes: new Map() });
    for (const one of this.arrows) {
      touch(one.at);
      touch(one.end);
    }
    for (const one of this.lines) {
      touch(one.at);
      const room = rooms.get(one.at);
      // Its row among those of the same moment in the same lane.
      one.row = one.kind === "broken" ? 0 : room.lanes.get(one.lane) ?? 0;
      if (one.kind === "broken") room.story += this.brokenHeight(one);
      else room.lanes.set(one.lane, one.row + 1);
    }
    const moments = [...rooms.entries()].sort((a, b) => a[0] - b[0]).map(([time, room]) => {
      const rows = Math.max(0, ...room.lanes.values());
      return [time, room.story + Math.max(0, rows * ROW - 6)];
    });
    this.scale = new Scale(moments, this.folds);
    this.rooms = rooms;
    this.measure();
  }

  brokenHeight(one) {
    one.words = this.wrap(one.text.replace(/\s*\n\s*/g, " · "), this.host.clientWidth - 68, 12, 4);
    return 60 + one.words.length * 15;
  }

  measure() {
    const [width, height] = [this.host.clientWidth, this.host.clientHeight];
    this.scale.zoom = this.zoom;
    const count = this.run.lanes.length;
    const crowded = count * 100 > width * 0.7;
    this.gutter = Math.max(200, Math.min(400, width * (crowded ? 0.22 : 0.3)));
    const room = width - this.gutter - 150;
    this.pitch = count > 1 ? Math.max(LANE_MIN, Math.min(LANE_MAX, room / (count - 1))) : 0;
    const across = this.gutter + 50 + this.pitch * (count - 1) + 60;
    this.wide = Math.max(width, across);
    this.left = this.gutter + 50;
    this.tall = HEAD + 18 + this.scale.height + Math.max(160, height * 0.35);
    this.sheet.style.width = `${this.wide}px`;
    this.sheet.style.height = `${this.tall}px`;
    const dots = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.round(width * dots), height: Math.round(height * dots) });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    Object.assign(this, { width, height, dots });
  }

  x(lane) {
    return this.left + lane * this.pitch - this.host.scrollLeft;
  }

  y(time) {
    return HEAD + 18 + this.scale.y(time) - this.host.scrollTop;
  }

  time(y) {
    return this.scale.time(y + this.host.scrollTop - HEAD - 18);
  }

  // Keeps the moment at `y` where it is.
  zoomTo(zoom, y = this.height / 2) {
    const least = Math.min(0.5, ((this.height - HEAD) * 0.62) / (this.scale.extent[0] * PACE + 1));
    const most = Math.min(40, 6e6 / (this.scale.extent[0] * PACE + 1));
    const time = this.time(y);
    this.zoom = Math.max(least, Math.min(Math.max(most, 1), zoom));
    this.measure();
    this.host.scrollTop += this.y(time) - y;
    this.draw();
  }

  fit() {
    this.host.scrollTop = 0;
    this.zoomTo(0, 0);
  }

  // Scrolls a moment and its lane into view.
  reveal(one, share = 0.4) {
    const y = this.y(one.at);
    if (y < HEAD + 30 || y > this.height - 90) this.host.scrollTop += y - this.height * share;
    if (one.lane >= 0) {
      const x = this.x(one.lane);
      if (x < this.gutter || x > this.width - 40) this.host.scrollLeft += x - this.width / 2;
    }
    this.draw();
  }

  draw() {
    const { pen, width, height, colours } = this;
    pen.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, width, height);
    this.drawn = { arrows: 0, joined: 0, lines: 0, lanes: 0, boxes: [], barred: [], shapes: [] };
    this.top = this.time(HEAD - 40);
    this.bottom = this.time(height + 20);
    this.drawQuiet();
    this.drawLanes();
    this.clipped(() => this.drawArrows());
    this.drawLines();
    this.drawTimes();
    this.drawNames();
  }

  clipped(draw) {
    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(this.gutter + 6, HEAD, this.width, this.height);
    this.pen.clip();
    draw();
    this.pen.restore();
  }

  // Time that is drawn shorter than it was.
  drawQuiet() {
    const { pen, colours, scale } = this;
    if (!this.folds) return;
    for (let index = Math.max(0, scale.before(this.top)); index + 1 < scale.times.length; index += 1) {
      const [from, to] = [scale.times[index], scale.times[index + 1]];
      if (from > this.bottom) break;
      if (to - from < BREAK) continue;
      const room = this.roomBelow(index);
      const [top, bottom] = [this.y(from) + room, this.y(to)];
      if (bottom - top < 9) continue;
      const middle = (top + bottom) / 2;
      pen.strokeStyle = colours.hairline;
      pen.lineWidth = 1;
      pen.setLineDash([1, 5]);
      pen.beginPath();
      pen.moveTo(this.gutter, middle);
      pen.lineTo(this.width, middle);
      pen.stroke();
      pen.setLineDash([]);
      this.text(`${span(to - from)} pass`, this.gutter - 14, middle, { colour: colours.muted, align: "right", style: "italic" });
    }
  }

  // The pixels for text below a moment, before the next one.
  roomBelow(index) {
    const { scale } = this;
    const next = index + 1 < scale.rooms.length ? scale.rooms[index + 1] : scale.extent[1];
    return (next - scale.rooms[index]) * scale.share;
  }

  drawLanes() {
    const { pen, colours, run } = this;
    run.lanes.forEach((lane, index) => {
      const x = this.x(index);
      if (x < this.gutter - 20 || x > this.width + 20) return;
      this.drawn.lanes += 1;
      pen.strokeStyle = colours.lane;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.moveTo(x, HEAD);
      pen.lineTo(x, Math.min(this.height, this.y(run.end) + 24));
      pen.stroke();
    });
    for (const { lane, state, from, to } of run.spans) {
      if (to < this.top || from > this.bottom) continue;
      const x = this.x(lane);
      if (x < this.gutter) continue;
      const [top, bottom] = [Math.max(HEAD - 10, this.y(from)), Math.min(this.height + 10, this.y(to))];
      const tall = Math.max(4, bottom - top);
      pen.fillStyle = colours.ground;
      pen.fillRect(x - 3, top, 6, tall);
      const paused = state === "paused";
      pen.fillStyle = paused ? colours["fault-ground"] : colours["broken-ground"];
      pen.strokeStyle = paused ? colours.fault : colours.broken;
      pen.lineWidth = 1;
      pen.setLineDash(paused ? [] : [4, 3]);
      pen.beginPath();
      pen.roundRect(x - 7, top, 14, tall, 4);
      pen.fill();
      pen.stroke();
      pen.setLineDash([]);
      if (tall > 60) {
        pen.save();
        pen.translate(x + 0.5, Math.max(HEAD + 30, Math.min(top + tall / 2, this.height - 30)));
        pen.rotate(-Math.PI / 2);
        this.write(state, 0, 0, { colour: pen.strokeStyle, align: "center", weight: 600, size: 10 });
        pen.restore();
      }
    }
  }

  drawArrows() {
    const first = search(this.ends.length, (index) => this.ends[index] >= this.top);
    const groups = new Map();
    const named = [];
    const flush = (group) => this.drawArrow(group, named);
    for (let index = first; index < this.arrows.length; index += 1) {
      const one = this.arrows[index];
      if (one.at > this.bottom) break;
      if (one.end < this.top) continue;
      const y = this.y(one.at);
      const means = this.filter.means(one);
      const key = `${one.from} ${one.to} ${one.way} ${one.fate} ${means}`;
      const group = groups.get(key);
      const tip = this.y(one.end);
      const joins = group && y - group.y < JOIN && Math.abs(tip - group.tip) < 2 * JOIN && one !== this.chosen;
      if (joins && group.first !== this.chosen) {
        Object.assign(group, { y, tip, count: group.count + 1 });
        if (!group.texts.includes(one.text)) group.texts.push(one.text);
        continue;
      }
      if (group) flush(group);
      groups.set(key, { first: one, texts: [one.text], start: y, begin: tip, y, tip, count: 1, means });
    }
    groups.forEach(flush);
    // Names are drawn last, so that no arrow crosses one.
    if (this.drawn.arrows <= CROWD) named.forEach((name) => this.nameArrow(name));
  }

  drawArrow(group, named) {
    const { pen, colours } = this;
    const { first: one, means, count } = group;
    const lost = one.fate === "lost";
    const chosen = one === this.chosen;
    const [x1, x2] = [this.x(one.from), this.x(one.to)];
    const [y1, y2] = [(group.start + group.y) / 2, (group.begin + group.tip) / 2];
    const share = lost ? 0.72 : 1;
    const [tx, ty] = [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share];
    const angle = Math.atan2(ty - y1, tx - x1);
    pen.globalAlpha = means ? (one.way === "database" && !chosen ? 0.75 : 1) : 0.12;
    pen.strokeStyle = pen.fillStyle = colours[one.way];
    if (lost) pen.strokeStyle = pen.fillStyle = colours.broken;
    pen.lineWidth = chosen ? 3 : Math.min(1.2 + Math.log2(count) * 0.6, 5);
    pen.setLineDash(lost || one.fate === "under way" ? [5, 4] : []);
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(tx, ty);
    pen.stroke();
    pen.setLineDash([]);
    if (lost) {
      pen.lineWidth = 1.8;
      pen.beginPath();
      for (const side of [-1, 1]) {
        pen.moveTo(tx - 4.5, ty - 4.5 * side);
        pen.lineTo(tx + 4.5, ty + 4.5 * side);
      }
      pen.stroke();
    } else if (one.fate === "arrived") {
      const size = chosen ? 10 : 7;
      pen.beginPath();
      pen.moveTo(tx, ty);
      pen.lineTo(tx - size * Math.cos(angle - 0.38), ty - size * Math.sin(angle - 0.38));
      pen.lineTo(tx - size * Math.cos(angle + 0.38), ty - size * Math.sin(angle + 0.38));
      pen.fill();
    }
    pen.globalAlpha = 1;
    this.drawn.arrows += count;
    this.drawn.joined += count > 1 ? 1 : 0;
    this.drawn.shapes.push({ one, x1, y1, x2: tx, y2: ty });
    const slope = Math.abs((ty - y1) / (tx - x1 || 1));
    // The arrow itself shows that a call was done.
    const texts = group.texts.filter((text) => !(one.from > one.to && text.endsWith(": done")));
    if (means && texts.length > 0) named.push({ one, count, texts, x1, y1, tx, ty, slope });
  }

  // Along the arrow, near its beginning, if there is space.
  nameArrow({ one, count, texts, x1, y1, tx, ty, slope }) {
    const { pen, colours } = this;
    if (slope > 1.2 && one !== this.chosen) return;
    const ways = Math.sign(tx - x1) || 1;
    const room = Math.min(Math.abs(tx - x1) - 26, this.pitch * 1.6);
    const all = texts.length > 3 ? `${count} × ${texts[0]}, …` : texts.length === 1 && count > 1 ? `${count} × ${texts[0]}` : texts.join(", ");
    const label = this.cut(all, room, SMALL);
    if (label === "") return;
    const wide = this.wideOf(label, SMALL);
    const start = 14 + wide / 2;
    const share = start / (Math.abs(tx - x1) || 1);
    const [mx, my] = [x1 + ways * start, y1 + (ty - y1) * share];
    const angle = slope > 1.2 ? 0 : Math.atan((ty - y1) / (tx - x1 || 1));
    const [half, rise] = [(wide / 2) * Math.cos(angle) + 2, Math.abs((wide / 2) * Math.sin(angle)) + 5.5];
    const up = 8.5;
    const box = [mx - half, my - up - rise, mx + half, my - up + rise];
    if (box[1] < HEAD || !this.take(box)) return;
    pen.save();
    pen.translate(mx, my);
    pen.rotate(angle);
    const colour = one.fate === "lost" ? colours.broken : colours[one.way];
    this.write(label, 0, -up, { colour, align: "center", halo: true });
    pen.restore();
  }

  // The times at which something happened, as many as fit.
  drawTimes() {
    const { scale, colours } = this;
    let free = HEAD + 8;
    for (let index = Math.max(0, scale.before(this.top)); index < scale.times.length; index += 1) {
      if (scale.times[index] > this.bottom) break;
      const y = this.y(scale.times[index]);
      if (y < free) continue;
      const placed = this.text(clock(scale.times[index]).replace(/\d{3}$/, ""), 62, y, { colour: colours.muted, align: "right", mono: true, size: 10.5 });
      if (placed) free = y + 20;
    }
  }

  drawNames() {
    const { pen, colours, run } = this;
    pen.fillStyle = colours.panel;
    pen.fillRect(0, 0, this.width, HEAD);
    pen.fillStyle = colours.hairline;
    pen.fillRect(0, HEAD - 1, this.width, 1);
    this.write("seconds", 62, HEAD / 2, { colour: colours.muted, align: "right", size: 10.5 });
    this.write("story", 78, HEAD / 2, { colour: colours.muted, size: 10.5 });
    run.lanes.forEach((lane, index) => {
      const x = this.x(index);
      if (x < this.gutter || x > this.width + 40) return;
      const short = lane.role === "database" ? "db" : lane.name.slice(0, 3);
      const name = this.cut(lane.name, this.pitch - 18, 13, 650) || short;
      const wide = this.wideOf(name, 13, 650) + 22;
      const colour = { client: colours.client, replica: colours.ink, database: colours.database, bus: colours.bus }[lane.role];
      pen.fillStyle = colours.ground;
      pen.strokeStyle = colour;
      pen.lineWidth = 1.3;
      pen.beginPath();
      pen.roundRect(x - wide / 2, 9, wide, 27, lane.role === "client" ? 13.5 : 6);
      pen.fill();
      pen.stroke();
      this.write(name, x, 23, { colour, align: "center", size: 13, weight: 650 });
    });
  }

  // The item that is drawn near a point, if there is one.
  hit(x, y) {
    let [best, nearest] = [null, 7];
    for (const { one, x1, y1, x2, y2 } of this.drawn.shapes) {
      const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
      const share = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length));
      const far = Math.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1));
      if (far < nearest) [best, nearest] = [one, far];
    }
    return best;
  }
}
