"use strict";
// The list of all rows that pass: only those in sight are in the page.

const List = (() => {
  const { element, number } = Text;
  const MARKS = { correct: "●", incorrect: "○", unparsed: "–", errored: "×", not_run: "·" };
  const TALLEST = 8_000_000; // pixels; browsers cap an element's height at about twice this
  const BEYOND = 8; // rows drawn out of sight
  const narrow = matchMedia("(max-width: 760px)");
  let box = null;
  let spacer = null;
  let open = null;
  let rows = new Uint32Array(0);
  let active = -1; // place in `rows`
  let drawn = new Map(); // place -> element
  let queued = false;

  const height = () => (narrow.matches ? 58 : 36);
  const total = () => rows.length * height();
  // Of a list that is taller than an element can be, a pixel of scrolling stands for several.
  const scale = () => {
    const room = Math.min(total(), TALLEST) - box.clientHeight;
    return room > 0 ? (total() - box.clientHeight) / room : 1;
  };

  function build(container, opened) {
    box = container;
    spacer = container.firstElementChild;
    open = opened;
    box.addEventListener("scroll", queue, { passive: true });
    box.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) {
        activate(Number(option.dataset.place));
        open(rows[active]);
      }
    });
    new ResizeObserver(() => redraw()).observe(box);
    narrow.addEventListener("change", redraw);
  }

  function queue() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      draw();
    });
  }

  // Show rows; the row that was active stays so where it still passes.
  function show(passed, keep) {
    rows = passed;
    active = keep >= 0 ? rows.indexOf(keep) : -1;
    if (active < 0) box.scrollTop = 0;
    redraw();
  }

  function redraw() {
    drawn.forEach((each) => each.remove());
    drawn = new Map();
    spacer.style.height = `${Math.min(total(), TALLEST)}px`;
    draw();
  }

  function draw() {
    const top = box.scrollTop * scale();
    const first = Math.max(Math.floor(top / height()) - BEYOND, 0);
    const last = Math.min(Math.ceil((top + box.clientHeight) / height()) + BEYOND, rows.length);
    for (const [place, each] of drawn) {
      if (place < first || place >= last) {
        each.remove();
        drawn.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      let each = drawn.get(place);
      if (!each) {
        each = line(place);
        drawn.set(place, each);
        spacer.append(each);
      }
      each.style.transform = `translateY(${place * height() - top + box.scrollTop}px)`;
      each.setAttribute("aria-selected", String(place === active));
    }
    if (drawn.has(active)) box.setAttribute("aria-activedescendant", `option-${active}`);
    else box.removeAttribute("aria-activedescendant");
  }

  function line(place) {
    const row = rows[place];
    const outcome = Rows.value(row, "outcome");
    const cut = Rows.value(row, "ended").slug === "length";
    const transition = Rows.value(row, "transition");
    return element(
      "div",
      {
        role: "option",
        class: "row",
        id: `option-${place}`,
        "data-place": place,
        "data-row": Rows.name(row),
        "aria-setsize": rows.length,
        "aria-posinset": place + 1,
      },
      element(
        "span",
        { class: `outcome ${outcome.slug}` },
        element("span", { class: "mark", "aria-hidden": "true" }, MARKS[outcome.slug]),
        outcome.label + (cut ? ", cut" : ""),
      ),
      element("span", { class: "id" }, Rows.id(row)),
      element("span", { class: "what" }, describe(row)),
      element("span", { class: `moved ${transition.slug}` }, transition.slug === "none" ? "" : transition.label),
    );
  }

  // Return what a row is, in words: the axes of its cell that say something.
  function describe(row) {
    const parts = ["step"];
    for (const key of ["wording", "condition", "method"]) {
      if (Rows.value(row, key).slug !== "none") parts.push(key);
    }
    for (const key of ["model", "seed"]) {
      if (Rows.facets().find((facet) => facet.key === key).slugs.length > 1) parts.push(key);
    }
    const words = parts.map((key) => {
      const { label } = Rows.value(row, key);
      return ["wording", "seed"].includes(key) ? `${key} ${label}` : label;
    });
    const draw = Rows.value(row, "draw");
    if (draw.slug !== "none") words.push(`no. ${draw.label}`);
    const teacher = Rows.value(row, "teacher");
    if (teacher.slug !== "none") words.push(`teacher ${teacher.label}`);
    return words.join(" · ");
  }

  function activate(place) {
    active = Math.max(Math.min(place, rows.length - 1), rows.length ? 0 : -1);
    if (active < 0) return;
    const [top, bottom] = [active * height(), (active + 1) * height()];
    const seen = box.scrollTop * scale();
    if (top < seen) box.scrollTop = top / scale();
    else if (bottom > seen + box.clientHeight) {
      box.scrollTop = (bottom - box.clientHeight) / scale();
    }
    draw();
  }

  // Move by so many rows; from no active row, to the first.
  const move = (by) => activate(active < 0 ? 0 : active + by);
  const page = () => Math.max(Math.floor(box.clientHeight / height()) - 1, 1);

  // Return the row before or after another one in the list, -1 where there is none.
  function beside(row, by) {
    const at = rows.indexOf(row);
    return at < 0 ? -1 : (rows[at + by] ?? -1);
  }

  return {
    build,
    show,
    move,
    page,
    activate,
    beside,
    describe,
    reveal: (row) => {
      const at = rows.indexOf(row);
      if (at >= 0) activate(at);
    },
    position: (row) => {
      const at = rows.indexOf(row);
      return at < 0 ? "" : `${number(at + 1)} of ${number(rows.length)}`;
    },
    current: () => (active < 0 ? -1 : rows[active]),
    length: () => rows.length,
    focus: () => box.focus({ preventScroll: true }),
  };
})();
