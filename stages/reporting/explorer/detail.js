"use strict";
// One trajectory: what it is, how it did, its task, and its panes.

const Detail = (() => {
  const { element } = Text;

  // Return answers and scores of original and revision as a table.
  function scores(record) {
    const { row, own, original, originalRow, text } = record;
    const given = (place) => (place === undefined ? "none" : text(place) || "(empty)");
    const figure = (value) => String(Math.round(value * 1000) / 1000);
    const line = (name, of, at) => {
      const outcome = Rows.value(at, "outcome");
      const ended = Rows.value(at, "ended");
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        element("td", { class: `outcome ${outcome.slug}` }, outcome.label),
        element("td", { class: "answer" }, given(of.strict)),
        element("td", { class: "answer" }, given(of.tolerant)),
        element("td", {}, figure(of.score)),
        element("td", {}, figure(of.tolerant_score)),
        element("td", {}, ended.label),
      );
    };
    const heads = ["", "Outcome", "Strict answer", "Tolerant answer", "Strict score", "Tolerant score", "Ended"];
    return element(
      "div",
      { class: "scores" },
      element(
        "table",
        {},
        element("caption", { class: "hidden" }, "Extracted answers and scores"),
        element("thead", {}, element("tr", {}, heads.map((head) => (head ? element("th", { scope: "col" }, head) : element("td", {}))))),
        element(
          "tbody",
          {},
          original ? line("Original", original, originalRow) : null,
          line(original ? (own.feedback === undefined && own.kept === undefined ? "New answer" : "Revision") : "Answer", own, row),
        ),
      ),
    );
  }

  // Return what is known beside answers: a list of terms.
  function facts(record, said) {
    const { row, item, own, text } = record;
    const pairs = [["Target", text(item.target) || "(none: the environment judges)"]];
    if (item.format !== undefined && text(item.format)) pairs.push(["Asked for", text(item.format)]);
    if (said) {
      const moved = Rows.value(row, "transition");
      if (moved.slug !== "none") pairs.push([Rows.facets().find(({ key }) => key === "transition").title, moved.label]);
      if (own.chosen) {
        pairs.push(["Chosen by", Object.entries(own.chosen).map(([slug, how]) => `${Rows.label(slug)} (${how})`).join(", ")]);
      }
    }
    if (own.rule !== undefined) pairs.push(["Program found by", own.rule]);
    if (own.checks !== undefined) pairs.push(["Tests", own.checks.join(", ")]);
    if (own.rote) pairs.push(["Program", "seems to repeat the answers of the tests shown"]);
    if (item.flags.length) pairs.push(["Flags", item.flags.join(", ")]);
    return element(
      "dl",
      { class: "facts" },
      pairs.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
    );
  }

  // Show a record; `links` holds the addresses of the list, of all of this item, before and after.
  function show(into, record, links) {
    const { row, originalRow } = record;
    const step = (href, words, title) =>
      href ? element("a", { href, title }, words) : element("span", { class: "quiet" }, words);
    into.replaceChildren(
      element(
        "nav",
        { class: "beside", "aria-label": "Trajectories" },
        element("a", { href: links.list }, "← List"),
        element("span", { class: "quiet" }, links.position),
        step(links.before, "Previous", "k"),
        step(links.after, "Next", "j"),
      ),
      element("h2", { tabindex: "-1" }, Rows.id(row)),
      element("p", { class: "what" }, List.describe(row)),
      element(
        "p",
        { class: "links" },
        element("a", { href: links.item }, "All trajectories of this item"),
        originalRow >= 0 ? element("a", { href: links.original }, "Open the original") : null,
      ),
      facts(record, true),
      scores(record),
      Panes.task(record),
      Panes.build(record),
      Panes.transcript(record),
    );
  }

  return { show, scores, facts };
})();
