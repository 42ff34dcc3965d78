"use strict";
// Which view the address asks for, and what keys do.

const App = (() => {
  const at = (id) => document.getElementById(id);
  const views = { list: at("list-view"), row: at("detail-view"), audit: at("audit-view") };
  const title = document.title;
  let state = null;
  let selected = ""; // the filters that the list shows, as an address
  let last = -1; // the row that was open last
  let turn = 0; // counts what was asked to be shown, so that a late chunk is not
  let rendered = null; // the address that is shown

  const kind = () => (state.row !== null ? "row" : state.audit !== null ? "audit" : "list");
  const near = (changes) => Address.write({ ...state, row: null, audit: null, ...changes });
  const link = (row) => (row < 0 ? null : near({ row: Rows.name(row) }));

  function problem(words) {
    at("problem").textContent = Text.visible(words);
    at("problem").hidden = !words;
  }

  // Go to an address; a `step` of typing replaces the one before and is no entry to go back to.
  function go(address, step = false) {
    if (step) location.replace(address);
    else location.hash = address;
    render();
  }

  function select() {
    const filters = Address.write({ ...state, row: null, audit: null });
    if (filters === selected) return;
    selected = filters;
    const { rows, counts } = Rows.select(state.filters, state.query);
    Facets.show(state.filters, counts);
    List.show(rows, last);
    const all = Rows.size();
    at("count").textContent =
      rows.length === all
        ? `${Text.number(all)} trajectories`
        : `${Text.number(rows.length)} of ${Text.number(all)} trajectories`;
    at("nothing").hidden = rows.length > 0;
    at("clear").hidden = filters === "#";
    if (document.activeElement !== at("search")) at("search").value = state.query;
  }

  function render() {
    rendered = location.hash;
    state = Address.read();
    problem("");
    select();
    const shown = kind();
    for (const [name, view] of Object.entries(views)) view.hidden = name !== shown;
    for (const [id, name] of [["to-list", "list"], ["to-audit", "audit"]]) {
      if (shown === name) at(id).setAttribute("aria-current", "page");
      else at(id).removeAttribute("aria-current");
    }
    at("to-list").href = near({});
    at("to-audit").href = near({ audit: 1 });
    const mine = ++turn;
    if (shown === "row") open(mine);
    else if (shown === "audit") {
      document.title = `Audit · ${title}`;
      Audit.show(state.audit).catch((error) => mine === turn && problem(error.message));
    } else {
      document.title = title;
      if (last >= 0) List.reveal(last);
      if (document.activeElement === document.body) List.focus();
    }
  }

  async function open(mine) {
    const row = Rows.find(state.row);
    if (row < 0) {
      views.row.replaceChildren();
      problem(`No trajectory ${state.row}`);
      return;
    }
    try {
      const record = await Chunks.record(row);
      if (mine !== turn) return;
      last = row;
      Detail.show(views.row, record, {
        list: near({}),
        item: Address.write({ row: null, audit: null, filters: {}, query: Rows.id(row) }),
        original: link(record.originalRow),
        before: link(List.beside(row, -1)),
        after: link(List.beside(row, 1)),
        position: List.position(row),
      });
      document.title = `${Text.visible(Rows.id(row))} · ${title}`;
      scrollTo(0, 0);
      views.row.querySelector("h2").focus({ preventScroll: true });
    } catch (error) {
      if (mine === turn) problem(error.message);
    }
  }

  function list(event) {
    const by = {
      j: 1,
      ArrowDown: 1,
      k: -1,
      ArrowUp: -1,
      PageDown: List.page(),
      PageUp: -List.page(),
    }[event.key];
    const end = { Home: 0, End: List.length() - 1 }[event.key];
    if (by || end !== undefined) {
      if (by) List.move(by);
      else List.activate(end);
      List.focus();
    } else if (event.key === "Enter" && List.current() >= 0) go(link(List.current()));
    else return false;
    return true;
  }

  function detail(event) {
    const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
    if (!step) return false;
    const next = List.beside(Rows.find(state.row), step);
    if (next >= 0) go(link(next));
    return true;
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || at("help").open) return;
    const field = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape") {
      if (field) field.blur();
      else if (kind() !== "list") go(near({}));
      else return;
    } else if (field) {
      if (field.id !== "search" || event.key !== "Enter") return;
      field.blur();
      List.focus();
      List.move(0);
    } else if (event.key === "Enter" && event.target.closest("a, button, summary, label, input")) return;
    else if (event.key === "?") at("help").showModal();
    else if (event.key === "/") {
      if (kind() !== "list") go(near({}));
      at("search").focus();
      at("search").select();
    } else if (!{ list, row: detail, audit: Audit.pressed }[kind()](event)) return;
    event.preventDefault();
  }

  function start() {
    at("scale").textContent = Text.visible(`scale ${Rows.scale()}`);
    state = Address.read();
    Facets.build(at("facets"), (key, slugs) => {
      go(near({ filters: { ...state.filters, [key]: slugs } }));
    });
    List.build(at("list"), (row) => go(link(row)));
    Audit.build(views.audit, (place) => go(near({ audit: place })));
    at("search").addEventListener("input", (event) => go(near({ query: event.target.value }), true));
    at("clear").addEventListener("click", () => go(near({ filters: {}, query: "" })));
    at("show-filters").addEventListener("click", (event) => {
      const shown = at("filters").classList.toggle("shown");
      event.target.setAttribute("aria-expanded", String(shown));
    });
    at("to-help").addEventListener("click", () => at("help").showModal());
    addEventListener("hashchange", () => {
      if (location.hash !== rendered) render();
    });
    addEventListener("keydown", pressed);
    render();
    // In the frame after the one that draws the list.
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("listed")));
  }

  return { start };
})();

App.start();
