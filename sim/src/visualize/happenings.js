// Draws events: those of participants beside their lanes, sentences of the story beside all lanes, and broken
// guarantees across them.

const FAR = 0.16; // Below this zoom, only what is urgent has words.

class Happenings extends Words {
  drawLines() {
    const { colours, lines } = this;
    const first = search(lines.length, (index) => lines[index].at >= this.top - 1);
    const seen = [];
    // Text that begins above the view may reach into it.
    let index = first;
    while (index > 0 && this.y(lines[index - 1].at) > HEAD - 400) index -= 1;
    for (; index < lines.length && lines[index].at <= this.bottom; index += 1) seen.push(lines[index]);
    const urgent = { broken: 0, error: 1, fault: 2, story: 3, done: 4, logged: 5 };
    seen.sort((a, b) => urgent[a.kind] - urgent[b.kind] || a.index - b.index);
    // No text covers the dot of another participant.
    for (const one of seen) {
      if (one.lane < 0 || one.kind === "broken") continue;
      const [x, y] = [this.x(one.lane), this.y(one.at) + one.row * ROW * this.scale.share];
      this.drawn.barred.push([x - 3, y - 3, x + 3, y + 3]);
    }
    const draw = (one) => {
      const y = this.y(one.at) + one.row * ROW * this.scale.share;
      this.pen.globalAlpha = this.filter.means(one) ? 1 : 0.16;
      this.drawn.lines += 1;
      if (one.kind === "broken") this.drawBroken(one, y);
      else if (one.lane < 0) this.drawScene(one, y);
      else this.drawLine(one, y);
      this.pen.globalAlpha = 1;
    };
    const onLane = (one) => one.lane >= 0 && one.kind !== "broken";
    seen.filter((one) => !onLane(one)).forEach(draw);
    this.clipped(() => seen.filter(onLane).forEach(draw));
    if (this.chosen && this.chosen.kind !== "arrow" && this.chosen.lane >= 0) {
      const y = this.y(this.chosen.at) + (this.chosen.row ?? 0) * ROW * this.scale.share;
      this.pen.strokeStyle = colours.client;
      this.pen.lineWidth = 2;
      this.pen.beginPath();
      this.pen.arc(this.x(this.chosen.lane), y, 8, 0, 7);
      this.pen.stroke();
    }
  }

  // An event of a participant: a dot on the lane, with its text beside it.
  drawLine(one, y) {
    const { pen, colours } = this;
    const x = this.x(one.lane);
    const loud = one.kind === "fault" || one.kind === "error";
    const colour = one.kind === "error" ? colours.broken : one.kind === "fault" ? colours.fault : colours.ink;
    pen.fillStyle = loud ? colour : one.kind === "logged" ? colours.muted : colours.ink;
    pen.beginPath();
    if (loud) {
      pen.moveTo(x, y - 6);
      pen.lineTo(x + 6, y);
      pen.lineTo(x, y + 6);
      pen.lineTo(x - 6, y);
    } else {
      pen.arc(x, y, one.kind === "logged" ? 1.8 : 2.8, 0, 7);
    }
    pen.fill();
    this.drawn.shapes.push({ one, x1: x, y1: y, x2: x, y2: y });
    const last = one.lane === this.run.lanes.length - 1;
    const end = last ? this.wide - this.host.scrollLeft - x - 20 : this.pitch - 22;
    if (!loud && this.zoom < FAR) return;
    const text = this.brief(one);
    const style = loud ? { colour, weight: 600 } : { colour: one.kind === "logged" ? colours.muted : colours.ink };
    // Across the next lane if that is free, otherwise up to it.
    for (const room of [Math.min(2 * this.pitch + end, this.width - x - 24), end]) {
      const label = this.cut(text, room, SMALL, style.weight);
      if (this.text(label, x + 10, y, { ...style, halo: true })) break;
    }
  }

  // Without the text that the mark repeats, and without ids.
  brief(one) {
    return one.text.replace(/^fault: /, "").replace(/ chat=[0-9a-f-]{36}/, "");
  }

  // Sentences of the story, and events that affect everything: beside the lanes.
  drawScene(one, y) {
    const { pen, colours } = this;
    const loud = one.kind === "fault" || one.kind === "error";
    const story = one.kind === "story";
    const colour = loud ? colours.fault : story ? colours.ink : colours.muted;
    const text = story ? one.text : `${one.who}: ${this.brief(one)}`;
    const label = this.cut(loud ? `↯ ${text}` : text, this.gutter - 96, SMALL + (story ? 1 : 0), story ? 600 : 400);
    const placed = this.text(label, 78, y, { colour, weight: story || loud ? 600 : 400, size: SMALL + (story ? 1 : 0) });
    this.drawn.shapes.push({ one, x1: 78, y1: y, x2: this.gutter - 20, y2: y });
    if (!placed && !loud) return;
    if (one.row > 0 && !loud) return;
    pen.strokeStyle = loud ? colours.fault : colours.hairline;
    pen.lineWidth = 1;
    if (one === this.chosen) pen.strokeStyle = colours.client;
    pen.beginPath();
    pen.moveTo(this.gutter, y);
    pen.lineTo(Math.min(this.width, this.x(this.run.lanes.length - 1) + 60), y);
    pen.stroke();
  }

  drawBroken(one, y) {
    const { pen, colours } = this;
    const height = (40 + one.words.length * 15) * this.scale.share;
    const [left, top, wide] = [12, y + 10, this.width - 24];
    pen.fillStyle = colours["broken-ground"];
    pen.strokeStyle = colours.broken;
    pen.lineWidth = one === this.chosen ? 2.5 : 1.5;
    pen.beginPath();
    pen.roundRect(left, top, wide, Math.max(6, height), 8);
    pen.fill();
    pen.stroke();
    this.drawn.shapes.push({ one, x1: left, y1: top + height / 2, x2: left + wide, y2: top + height / 2 });
    if (height < 50) return;
    const title = one.who === "judge" ? "A guarantee is broken" : this.run.verdict.title;
    this.text(`✗  ${title}`, left + 14, top + 17, { colour: colours.broken, weight: 700, size: 13 });
    this.text(clock(one.at), left + wide - 12, top + 17, { colour: colours.broken, align: "right", mono: true });
    one.words.forEach((row, index) => this.text(row, left + 31, top + 35 + index * 15, { colour: colours.ink, size: 12 }));
    this.drawn.barred.push([left, top, left + wide, top + height]);
  }
}
