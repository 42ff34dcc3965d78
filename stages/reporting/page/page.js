// Sorts tables by a column, group by group, and filters rows by verdict. Without it all is readable.
"use strict";
{
  const words = new Intl.Collator("en", { numeric: true });
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  const compare = (column, sign) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    const [p, q] = [x.dataset.key, y.dataset.key];
    if (p !== undefined && q !== undefined) return sign * (Number(p) - Number(q));
    // Words and missing figures stand behind figures, whichever way these are sorted.
    if (p !== undefined || q !== undefined) return p === undefined ? 1 : -1;
    return sign * words.compare(x.textContent, y.textContent);
  };

  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.querySelectorAll("thead th[data-column]")];
    const bodies = [...table.tBodies].map((body) => ({
      body,
      rows: [...body.rows].filter((row) => !row.classList.contains("group")),
    }));
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = NEXT[head.getAttribute("aria-sort")];
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        for (const { body, rows } of bodies) {
          const sorted = [...rows];
          if (order !== "none") {
            sorted.sort(compare(Number(head.dataset.column), order === "ascending" ? 1 : -1));
          }
          body.append(...sorted);
        }
      });
    }
  }

  for (const filter of document.querySelectorAll(".filter")) {
    const rows = [...document.getElementById(filter.dataset.table).querySelectorAll("tr[data-verdict]")];
    const buttons = [...filter.querySelectorAll("button")];
    const count = filter.querySelector("output");
    const show = (verdict) => {
      for (const row of rows) row.hidden = verdict !== "" && row.dataset.verdict !== verdict;
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      }
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    };
    for (const button of buttons) button.addEventListener("click", () => show(button.dataset.verdict));
    show("");
    filter.hidden = false;
  }
}
