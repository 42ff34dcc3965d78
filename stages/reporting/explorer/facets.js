"use strict";
// The filters: a group of checkboxes a facet, each value with its count.

const Facets = (() => {
  const { element, number } = Text;
  const LONG = 16; // values, from which a group scrolls
  let boxes = []; // of each facet: [{box, count, line}]

  // Build the groups; `changed` is called with the facet's key and the slugs that are ticked.
  function build(into, changed) {
    boxes = Rows.facets().map((facet) => {
      const lines = facet.slugs.map((slug, code) => {
        const box = element("input", { type: "checkbox", name: facet.key, value: slug });
        const count = element("span", { class: "count" });
        const line = element(
          "label",
          {},
          box,
          element("span", { class: "name" }, facet.labels[code]),
          count,
        );
        box.addEventListener("change", () => {
          changed(facet.key, lines.filter((each) => each.box.checked).map((each) => each.box.value));
        });
        return { box, count, line };
      });
      // A value that all have is no choice.
      if (lines.length > (facet.several ? 0 : 1)) {
        into.append(
          element(
            "details",
            { open: true },
            element("summary", {}, facet.title),
            element(
              "div",
              { role: "group", "aria-label": facet.title, class: lines.length > LONG ? "long" : null },
              lines.map((each) => each.line),
            ),
          ),
        );
      }
      return lines;
    });
  }

  function show(chosen, counts) {
    Rows.facets().forEach((facet, place) => {
      const picked = chosen[facet.key] || [];
      boxes[place].forEach(({ box, count, line }, code) => {
        const n = counts[place][code];
        box.checked = picked.includes(box.value);
        count.textContent = number(n);
        line.classList.toggle("empty", n === 0 && !box.checked);
      });
    });
  }

  return { build, show };
})();
