// What somebody hears who does not see the page: that an answer began, its sentences now and then, and how it ended. Never
// each word as it comes.

/** At the soonest so long after the last words, in milliseconds. */
const PAUSE = 4000;
/** At most so many characters of an answer at once. */
const LENGTH_MAX = 500;

export class Announcer {
  #node;
  #waiting = [];
  #timer = 0;
  #quietUntil = 0;
  #read = 0;

  constructor(node) {
    this.#node = node;
  }

  /** As soon as what was said before is over. */
  say(text) {
    this.#waiting.push(text);
    this.#schedule();
  }

  /** An answer begins. */
  begin() {
    this.#read = 0;
    this.say("The answer begins.");
  }

  /** What there is of it so far. Nothing of it waits: what is old is left out. */
  tell(text) {
    if (this.#waiting.length > 0 || performance.now() < this.#quietUntil) return;
    const end = Math.max(...[". ", "! ", "? ", ".\n", "\n\n"].map((mark) => text.lastIndexOf(mark)));
    if (end < this.#read) return;
    const said = text.slice(this.#read, end + 1).trim();
    this.#read = end + 1;
    if (said !== "") this.say(said.slice(-LENGTH_MAX));
  }

  #schedule() {
    if (this.#timer || this.#waiting.length === 0) return;
    const wait = Math.max(0, this.#quietUntil - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#node.textContent = this.#waiting.join(" ");
      this.#waiting = [];
      this.#quietUntil = performance.now() + PAUSE;
    }, wait);
  }
}
