"use strict";
// The manual audit: a rater marks a fixed sample of retries with the paper's four kinds of noise.
// Only the marks of the rater named are ever shown: raters are blind to each other.

const Audit = (() => {
  const { element, number } = Text;
  const NAME = /^[A-Za-z0-9_-]{1,40}$/;
  let sample = null;
  let box = null;
  let go = null; // (place) shows a place of the sample
  let rater = "";
  let marks = {}; // by row name: {types: list or null while undecided, note}
  let at = 0;
  let turn = 0; // counts what was asked to be shown, so that a late chunk is not
  const parts = {};

  window.EXPLORER_AUDIT = (value) => {
    sample = value;
  };

  const key = (name) => `audit/${sample.digest}/${name}`;
  const decided = (name) => Array.isArray(marks[name]?.types);
  const row = () => sample.rows[at]?.row;

  function stored(name) {
    try {
      return JSON.parse(localStorage.getItem(key(name))) || {};
    } catch (error) {
      say(`Marks cannot be kept by this browser (${error.message}): export them before you leave.`);
      return {};
    }
  }

  function store() {
    try {
      localStorage.setItem(key(rater), JSON.stringify(marks));
      localStorage.setItem("audit/rater", rater);
    } catch (error) {
      say(`Marks cannot be kept by this browser (${error.message}): export them before you leave.`);
    }
  }

  function say(words) {
    parts.message.textContent = words;
    parts.message.hidden = !words;
  }

  function build(into, shown) {
    box = into;
    go = shown;
    const name = element("input", { id: "rater", autocomplete: "off", spellcheck: "false", maxlength: "40", placeholder: "letters, digits, - and _" });
    const file = element("input", { type: "file", accept: ".json,application/json", id: "import-file", "aria-label": "Import marks", class: "hidden", tabindex: "-1" });
    const save = element("button", { type: "button", id: "export" }, "Export marks");
    const load = element("button", { type: "button", id: "import" }, "Import marks");
    Object.assign(parts, {
      name,
      progress: element("p", { id: "progress", role: "status" }),
      message: element("p", { class: "notice", role: "alert", hidden: true }),
      body: element("div", {}),
      boxes: [],
    });
    name.addEventListener("input", () => sign(name.value));
    save.addEventListener("click", exported);
    load.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      if (file.files.length) imported(file.files[0]);
      file.value = "";
    });
    parts.rubric = rubric();
    box.append(
      element("div", { class: "bar" }, element("label", { for: "rater" }, "Rater"), name, save, load, file, parts.progress),
      parts.message,
      element("div", { class: "audit" }, parts.rubric, parts.body),
    );
    sign(remembered());
    name.value = rater;
  }

  function remembered() {
    try {
      return localStorage.getItem("audit/rater") || "";
    } catch {
      return ""; // `stored` says so once there is a rater
    }
  }

  function rubric() {
    const boxes = [...sample.noises, ["none", "None of these", ""]].map(([slug, title, meaning], place) => {
      const digit = slug === "none" ? 0 : place + 1;
      const input = element("input", { type: "checkbox", value: slug, "aria-keyshortcuts": digit });
      input.addEventListener("change", () => mark(slug, input.checked));
      parts.boxes.push(input);
      return element(
        "label",
        {},
        input,
        element("span", {}, element("kbd", {}, String(digit)), " ", title, meaning ? element("small", {}, meaning) : null),
      );
    });
    parts.note = element("textarea", { id: "note", rows: "2", "aria-keyshortcuts": "n" });
    parts.note.addEventListener("input", () => {
      const before = marks[row()] || { types: null, note: "" };
      put({ ...before, note: parts.note.value });
    });
    parts.field = element(
      "fieldset",
      {},
      element("legend", {}, "Noise in this retry"),
      boxes,
      element("label", { for: "note", class: "note-label" }, element("kbd", {}, "n"), " Note"),
      parts.note,
    );
    return parts.field;
  }

  function sign(name) {
    const good = NAME.test(name);
    rater = good ? name : "";
    marks = good ? stored(name) : {};
    say(good || !name ? "" : "A rater's name is letters, digits, - and _.");
    update();
  }

  function put(value) {
    if (!rater || row() === undefined) return;
    if (value.types === null && !value.note) delete marks[row()];
    else marks[row()] = value;
    store();
    update();
  }

  function mark(slug, on) {
    const before = marks[row()] || { types: null, note: "" };
    let types = (before.types || []).filter((each) => each !== slug);
    if (slug === "none") types = on ? [] : null;
    else if (on) types = sample.noises.map(([each]) => each).filter((each) => each === slug || types.includes(each));
    else if (!types.length) types = null;
    put({ ...before, types });
  }

  function update() {
    const all = sample.rows.length;
    const done = sample.rows.filter((each) => decided(each.row)).length;
    parts.progress.textContent = `${number(done)} of ${number(all)} marked`;
    if (!rater) parts.progress.textContent = "Name the rater to begin";
    parts.field.disabled = !rater || !all;
    const { types, note } = marks[row()] || { types: null, note: "" };
    for (const input of parts.boxes) {
      input.checked = types !== null && (input.value === "none" ? !types.length : types.includes(input.value));
    }
    if (parts.note.value !== note) parts.note.value = note;
  }

  async function show(place) {
    const own = ++turn;
    if (!sample.rows.length) {
      parts.body.replaceChildren(element("p", { class: "quiet" }, "There is no retry to audit at this scale."));
      update();
      return;
    }
    at = Math.max(Math.min(place - 1, sample.rows.length - 1), 0);
    const record = await Chunks.record(Rows.find(row()));
    if (own !== turn) return;
    parts.body.replaceChildren(
      element(
        "nav",
        { class: "beside", "aria-label": "Sample" },
        element("span", { class: "quiet" }, `${number(at + 1)} of ${number(sample.rows.length)}`),
        beside("Previous", -1),
        beside("Next", 1),
      ),
      element("h2", {}, Rows.id(record.row)),
      Detail.facts(record, false),
      Detail.scores(record),
      Panes.task(record),
      Panes.build(record),
    );
    update();
  }

  function beside(words, step) {
    const next = at + step;
    if (next < 0 || next >= sample.rows.length) return element("span", { class: "quiet" }, words);
    const button = element("button", { type: "button", class: "plain" }, words);
    button.addEventListener("click", () => go(next + 1));
    return button;
  }

  // Handle a key; returns whether it was one.
  function pressed(event) {
    const step = { j: 1, ArrowRight: 1, ArrowDown: 1, k: -1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = at + step;
      if (next >= 0 && next < sample.rows.length) go(next + 1);
    } else if (event.key === "Enter") {
      const places = sample.rows.map((_, place) => (at + 1 + place) % sample.rows.length);
      const next = places.find((place) => !decided(sample.rows[place].row));
      if (next !== undefined) go(next + 1);
    } else if (event.key === "n") parts.note.focus();
    else if (/^[0-4]$/.test(event.key) && !parts.field.disabled) {
      const input = event.key === "0" ? parts.boxes.at(-1) : parts.boxes[Number(event.key) - 1];
      mark(input.value, !input.checked);
    } else return false;
    return true;
  }

  function exported() {
    if (!rater) {
      say("Name the rater first.");
      return;
    }
    say("");
    const sorted = Object.fromEntries(Object.entries(marks).sort(([one], [other]) => (one < other ? -1 : 1)));
    const text = `${JSON.stringify({ format: 1, sample: sample.digest, rater, marks: sorted }, null, 2)}\n`;
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    element("a", { href: url, download: `audit-${rater}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  async function imported(file) {
    try {
      const value = JSON.parse(await file.text());
      const wrong = complaint(value);
      if (wrong) throw new Error(wrong);
      rater = value.rater;
      parts.name.value = rater;
      marks = Object.fromEntries(
        Object.entries(value.marks).map(([name, { types, note }]) => [name, { types, note: note ?? "" }]),
      );
      store();
      say("");
      update();
    } catch (error) {
      say(`${file.name}: ${error.message}`);
    }
  }

  // Return what is wrong with a file of marks, null if nothing.
  function complaint(value) {
    if (value === null || typeof value !== "object" || value.format !== 1) return "not a file of marks";
    if (value.sample !== sample.digest) return "marks of another sample";
    if (typeof value.rater !== "string" || !NAME.test(value.rater)) return "no rater's name";
    if (rater && value.rater !== rater) return `marks of another rater (${value.rater})`;
    if (value.marks === null || typeof value.marks !== "object") return "no marks";
    const names = new Set(sample.rows.map((each) => each.row));
    const slugs = new Set(sample.noises.map(([slug]) => slug));
    for (const [name, each] of Object.entries(value.marks)) {
      if (!names.has(name)) return `${name} is not in the sample`;
      const good =
        each !== null &&
        typeof each === "object" &&
        (each.types === null || (Array.isArray(each.types) && each.types.every((slug) => slugs.has(slug)))) &&
        (each.note === undefined || typeof each.note === "string");
      if (!good) return `${name}: not a mark`;
    }
    return null;
  }

  return { build, show, pressed };
})();
