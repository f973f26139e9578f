// Text on a canvas. It is drawn only where the space is free, so that no text covers another.

const SMALL = 11;

class Words {
  // Draws text if the space is free. Otherwise returns false.
  text(text, x, y, style = {}) {
    if (text === "") return false;
    const size = style.size ?? SMALL;
    const wide = this.wideOf(text, size, style.weight, style.mono);
    const left = style.align === "right" ? x - wide : style.align === "center" ? x - wide / 2 : x;
    if (y < HEAD + size / 2 + 2 || !this.take([left - 2, y - size / 2 - 1, left + wide + 2, y + size / 2 + 1])) return false;
    this.write(text, x, y, style);
    return true;
  }

  write(text, x, y, { colour, align = "left", size = SMALL, weight = 400, style = "", mono, halo }) {
    const { pen } = this;
    pen.font = this.font(size, weight, mono, style);
    pen.textAlign = align;
    pen.textBaseline = "middle";
    if (halo) {
      // Lines that cross a text stay behind it.
      const wide = this.wideOf(text, size, weight, mono);
      const left = align === "center" ? x - wide / 2 : x;
      const alpha = pen.globalAlpha;
      pen.globalAlpha = alpha * 0.82;
      pen.fillStyle = this.colours.ground;
      pen.fillRect(left - 2, y - size / 2 - 1, wide + 4, size + 2);
      pen.globalAlpha = alpha;
      pen.font = this.font(size, weight, mono, style);
    }
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  }

  font(size, weight = 400, mono = false, style = "") {
    return `${style} ${weight} ${size}px ${mono ? this.mono : this.sans}`;
  }

  wideOf(text, size, weight, mono) {
    const font = this.font(size, weight, mono);
    const key = `${font} ${text}`;
    let wide = this.widths.get(key);
    if (wide === undefined) {
      if (this.widths.size > 20000) this.widths.clear();
      this.pen.font = font;
      wide = this.pen.measureText(text).width;
      this.widths.set(key, wide);
    }
    return wide;
  }

  // Shortens text to a width; to nothing if not even a word would be left.
  cut(text, room, size, weight) {
    const line = text.split("\n", 1)[0];
    if (this.wideOf(line, size, weight) <= room) return line;
    const fits = (length) => this.wideOf(`${line.slice(0, length)}…`, size, weight) <= room;
    const length = search(line.length, (length) => !fits(length)) - 1;
    return length < 4 ? "" : `${line.slice(0, length).trimEnd()}…`;
  }

  wrap(text, room, size, most) {
    const rows = [""];
    for (const word of text.split(" ")) {
      const longer = rows.at(-1) === "" ? word : `${rows.at(-1)} ${word}`;
      if (this.wideOf(longer, size) <= room) rows[rows.length - 1] = longer;
      else if (rows.length === most) return [...rows.slice(0, -1), `${rows.at(-1)} …`];
      else rows.push(word);
    }
    return rows;
  }

  // Claims a rectangle. False if part of it is taken.
  take(box) {
    const taken = this.drawn.boxes.some((other) =>
      box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
    const covers = this.drawn.barred.some((dot) =>
      box[0] < dot[2] && dot[0] < box[2] && box[1] < dot[3] && dot[1] < box[3]);
    if (!taken && !covers) this.drawn.boxes.push(box);
    return !taken && !covers;
  }
}
