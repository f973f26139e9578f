// With `#selfcheck`, the page operates itself as a person would, and writes the results into the document.

function selfcheck(page) {
  const { diagram, list, run } = page;
  const press = (key, target = document.body) =>
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const field = page.id("search");
  const type = (text) => {
    press("/");
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const overlaps = () => diagram.drawn.boxes.filter((one, index) => diagram.drawn.boxes.some((other, at) =>
    at > index && one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3])).length;
  const at = () => {
    const { arrows, joined, lines, lanes } = diagram.drawn;
    return { zoom: diagram.zoom, arrows, joined, lines, lanes, overlaps: overlaps(), inked: inked(diagram) };
  };
  const told = {
    lanes: run.lanes, happenings: run.happenings.length, arrows: diagram.arrows.length, start: at(),
    story: run.happenings.filter((one) => one.kind === "story").map((one) => one.text),
    broken: run.broken && { text: run.broken.text, chosen: page.chosen === run.broken, inSight: diagram.y(run.broken.at) > 0 && diagram.y(run.broken.at) < diagram.height },
    spans: run.spans,
    lost: run.happenings.filter((one) => one.fate === "lost").length,
    inverse: [0.1, 0.5, 0.9].map((share) => Math.abs(diagram.time(diagram.y(run.end * share)) - run.end * share)),
  };
  press("Escape");
  type("dial");
  told.focused = document.activeElement === field;
  told.search = { found: list.shown.length, all: list.shown.every((one) => one.haystack.includes("dial")), said: page.id("found").textContent };
  press("Enter", field);
  told.search.chosen = page.chosen?.text ?? null;
  type("no such thing at all");
  told.search.none = list.shown.length;
  press("Escape", field);
  told.search.cleared = list.shown.length;
  press("Home", page.id("list"));
  press("f");
  told.fault = page.chosen?.kind ?? null;
  told.details = page.id("details").textContent;
  press("+");
  told.nearer = at();
  press("0");
  told.fitted = at();
  page.id("legend").firstElementChild.click();
  told.withoutClients = diagram.arrows.length;
  page.id("legend").firstElementChild.click();
  press("z");
  told.unfolded = diagram.scale.height;
  press("z");
  told.folded = diagram.scale.height;
  const before = document.documentElement.dataset.theme;
  press("t");
  told.themed = before !== document.documentElement.dataset.theme;
  const started = performance.now();
  for (let times = 0; times < 10; times += 1) diagram.draw();
  told.drawMs = (performance.now() - started) / 10;
  told.scripts = document.scripts.length;
  told.foreign = document.querySelectorAll("[src], link, img, iframe, b").length;
  page.id("selfcheck").textContent = JSON.stringify(told);
}

// The share of the canvas that is not background.
function inked({ pen, canvas }) {
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  // The last corner is background.
  const ground = data.length - 4;
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (data[at] !== data[ground] || data[at + 1] !== data[ground + 1] || data[at + 2] !== data[ground + 2]) count += 1;
  }
  return count / (data.length / 4);
}
