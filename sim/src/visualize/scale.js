// Maps time to the height at which it is drawn, and back. Quiet time is shortened, and moments with much text
// get more space below them.

const PACE = 11; // Pixels for a millisecond, before zooming.
const ROW = 15; // Pixels for a line of text.
const FULL_MS = 3; // What is quiet for no longer has its full length.
const BREAK = 2e5; // What is quiet for longer is marked, in microseconds.

class Scale {
  // `moments`: pairs of a time and the pixels that its text needs, sorted by time.
  constructor(moments, folds) {
    this.times = [];
    this.lengths = [];
    this.rooms = [];
    let [length, room, last] = [0, 0, 0];
    for (const [time, pixels] of moments) {
      length += Scale.length((time - last) / 1000, folds && time > last);
      this.times.push(time);
      this.lengths.push(length);
      this.rooms.push(room);
      room += pixels;
      last = time;
    }
    this.zoom = 1;
    this.extent = [length, room];
  }

  static length(ms, folds) {
    if (!folds) return ms;
    if (ms <= FULL_MS) return Math.max(ms, 0.35);
    return FULL_MS + 0.75 * Math.log(ms / FULL_MS);
  }

  // The share of the space for text that is left at this zoom.
  get share() {
    return Math.min(1, this.zoom * 1.2);
  }

  at(index) {
    return this.lengths[index] * PACE * this.zoom + this.rooms[index] * this.share;
  }

  get height() {
    return this.extent[0] * PACE * this.zoom + this.extent[1] * this.share;
  }

  // The last moment that is not after this time.
  before(time) {
    return search(this.times.length, (index) => this.times[index] > time) - 1;
  }

  y(time) {
    if (this.times.length === 0) return 0;
    const index = this.before(time);
    if (index < 0) return (time / (this.times[0] || 1)) * this.at(0);
    if (index + 1 >= this.times.length) return this.at(index);
    const [from, to] = [this.times[index], this.times[index + 1]];
    return this.at(index) + ((time - from) / (to - from)) * (this.at(index + 1) - this.at(index));
  }

  time(y) {
    if (this.times.length === 0) return 0;
    const index = search(this.times.length, (index) => this.at(index) > y) - 1;
    if (index < 0) return (Math.max(0, y) / (this.at(0) || 1)) * this.times[0];
    if (index + 1 >= this.times.length) return this.times[index];
    const [top, bottom] = [this.at(index), this.at(index + 1)];
    return this.times[index] + ((y - top) / (bottom - top || 1)) * (this.times[index + 1] - this.times[index]);
  }
}

// Binary search: the first index for which `holds` is true.
function search(count, holds) {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
