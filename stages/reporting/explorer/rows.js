"use strict";
// What filters read: a column of codes for each facet, over all trajectories.

const Rows = (() => {
  let index = null;
  let facets = []; // of the index, each with `column`: a code a row, or bits if `several`
  let itemOf = null;
  let cellOf = null;
  let item = null;
  let lowered = [];

  function unpack(text, Kind) {
    const bytes = atob(text);
    const buffer = new Uint8Array(bytes.length);
    for (let at = 0; at < bytes.length; at++) buffer[at] = bytes.charCodeAt(at);
    return new Kind(buffer.buffer); // little-endian, as every machine that browsers run on
  }

  function load(value) {
    index = value;
    const n = index.rows;
    item = {
      suite: unpack(index.item.suite, Uint8Array),
      split: unpack(index.item.split, Uint8Array),
      task: unpack(index.item.task, Uint16Array),
      first: unpack(index.item.first, Uint32Array),
      chunk: unpack(index.item.chunk, Uint32Array),
    };
    cellOf = unpack(index.row.cell, Uint16Array);
    itemOf = new Uint32Array(n);
    for (let i = 0; i < index.items.length; i++) itemOf.fill(i, item.first[i], item.first[i + 1]);
    lowered = index.items.map((id) => id.toLowerCase());
    facets = index.facets.map((facet) => ({ ...facet, column: column(facet.key, n) }));
  }

  function column(key, n) {
    if (key in index.row) return unpack(index.row[key], Uint8Array);
    const [codes, of] = key in item ? [item[key], itemOf] : [index.cells[key], cellOf];
    const found = new Uint16Array(n);
    for (let row = 0; row < n; row++) found[row] = codes[of[row]];
    return found;
  }

  // Return {rows, counts}: which rows pass, in order, and of each facet how many rows each value
  // has among those that pass all other facets. `chosen` holds slugs by facet key.
  function select(chosen, query) {
    const n = index.rows;
    const active = [];
    const counts = facets.map((facet, place) => {
      const width = facet.several ? 256 : facet.slugs.length;
      const picked = chosen[facet.key];
      if (picked && picked.length) {
        const allowed = new Uint8Array(width);
        const codes = picked.map((slug) => facet.slugs.indexOf(slug)).filter((code) => code >= 0);
        for (let value = 0; value < width; value++) {
          allowed[value] = codes.some((code) => (facet.several ? value >> code & 1 : value === code));
        }
        active.push({ place, allowed, column: facet.column });
      }
      return new Uint32Array(width);
    });
    const wanted = query.trim().toLowerCase();
    const found = wanted ? Uint8Array.from(lowered, (id) => id.includes(wanted)) : null;
    const columns = facets.map((facet) => facet.column);
    const rows = new Uint32Array(n);
    let passed = 0;
    for (let row = 0; row < n; row++) {
      if (found && !found[itemOf[row]]) continue;
      let failed = -1;
      let fails = 0;
      for (const { place, allowed, column: values } of active) {
        if (!allowed[values[row]]) {
          failed = place;
          if (++fails > 1) break;
        }
      }
      if (fails === 0) {
        rows[passed++] = row;
        for (let place = 0; place < columns.length; place++) counts[place][columns[place][row]]++;
      } else if (fails === 1) counts[failed][columns[failed][row]]++;
    }
    return {
      rows: rows.subarray(0, passed),
      counts: counts.map((values, place) => (facets[place].several ? bits(values, place) : values)),
    };
  }

  function bits(values, place) {
    return facets[place].slugs.map((_, code) =>
      values.reduce((sum, count, mask) => sum + (mask >> code & 1 ? count : 0), 0),
    );
  }

  // Return the name of a row, which links keep: its item and its cell.
  const name = (row) => `${index.items[itemOf[row]]}@${index.cells.name[cellOf[row]]}`;

  // Return the row of a name, -1 where there is none.
  function find(text) {
    const at = text.lastIndexOf("@");
    const of = index.items.indexOf(text.slice(0, at));
    if (at < 0 || of < 0) return -1;
    for (let row = item.first[of]; row < item.first[of + 1]; row++) {
      if (index.cells.name[cellOf[row]] === text.slice(at + 1)) return row;
    }
    return -1;
  }

  // Return slug and printed name of a row's value on a facet.
  function value(row, key) {
    const facet = facets.find((each) => each.key === key);
    const code = facet.column[row];
    return { slug: facet.slugs[code], label: facet.labels[code] };
  }

  // Return where the texts of a row are: the chunk, and its places in it.
  const place = (row) => {
    const of = itemOf[row];
    return { chunk: item.chunk[of], item: of - item.chunk.indexOf(item.chunk[of]), row: row - item.first[of] };
  };

  return {
    load,
    select,
    name,
    find,
    value,
    place,
    facets: () => facets,
    size: () => index.rows,
    scale: () => index.scale,
    id: (row) => index.items[itemOf[row]],
    first: (row) => item.first[itemOf[row]],
    label: (slug) => index.labels[slug] || slug,
  };
})();

window.EXPLORER_INDEX = Rows.load;
