"use strict";
// What is shown stands in the address: #row=<item>@<cell>&outcome=correct,unparsed&q=<search>.

const Address = (() => {
  const SAFE = /%(2F|40|2C|3A)/g; // "/@,:" stay legible

  function read() {
    const state = { row: null, audit: null, query: "", filters: {} };
    for (const part of location.hash.slice(1).split("&")) {
      const at = part.indexOf("=");
      if (at < 1) continue;
      const key = part.slice(0, at);
      let value;
      try {
        value = decodeURIComponent(part.slice(at + 1));
      } catch {
        continue; // not an address that this page wrote
      }
      if (key === "row") state.row = value;
      else if (key === "audit") state.audit = Number.parseInt(value, 10) || 1;
      else if (key === "q") state.query = value;
      else if (Rows.facets().some((facet) => facet.key === key)) {
        state.filters[key] = value.split(",").filter(Boolean);
      }
    }
    return state;
  }

  function write(state) {
    const parts = [];
    const put = (key, value) =>
      parts.push(`${key}=${encodeURIComponent(value).replace(SAFE, decodeURIComponent)}`);
    if (state.row !== null) put("row", state.row);
    if (state.audit !== null) put("audit", state.audit);
    for (const { key } of Rows.facets()) {
      if (state.filters[key]?.length) put(key, state.filters[key].join(","));
    }
    if (state.query) put("q", state.query);
    return `#${parts.join("&")}`;
  }

  return { read, write };
})();
