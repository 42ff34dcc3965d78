"use strict";
// The texts, loaded a file at a time by a script tag: a page from a file may fetch nothing.

const Chunks = (() => {
  const KEPT = 16;
  const loaded = new Map(); // number -> promise of the chunk, the latest last
  const waiting = new Map(); // number -> what resolves it
  const path = (number) => `data/${String(number).padStart(5, "0")}.js`;
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("chunks", {
        createScriptURL(url) {
          if (!/^data\/\d{5,}\.js$/.test(url)) throw new TypeError(`not a chunk: ${url}`);
          return url;
        },
      })
    : { createScriptURL: (url) => url };

  window.EXPLORER_CHUNK = (number, value) => {
    const resolve = waiting.get(number);
    waiting.delete(number);
    if (resolve) resolve(value);
  };

  function load(number) {
    const known = loaded.get(number);
    loaded.delete(number);
    const promise =
      known ||
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        waiting.set(number, resolve);
        script.onload = () => {
          script.remove();
          if (waiting.delete(number)) {
            loaded.delete(number);
            reject(new Error(`${path(number)} is not a file of this site`));
          }
        };
        script.onerror = () => {
          script.remove();
          waiting.delete(number);
          loaded.delete(number);
          reject(new Error(`${path(number)} cannot be read`));
        };
        script.src = policy.createScriptURL(path(number));
        document.head.append(script);
      });
    loaded.set(number, promise);
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    return promise;
  }

  // Return a row's record, with `text` to look up its texts, its item and its original's record.
  async function record(row) {
    const at = Rows.place(row);
    const chunk = await load(at.chunk);
    const item = chunk.items[at.item];
    const own = item.rows[at.row];
    return {
      row,
      item,
      own,
      original: own.of === undefined ? null : item.rows[own.of],
      originalRow: own.of === undefined ? -1 : Rows.first(row) + own.of,
      text: (number) => chunk.texts[number],
    };
  }

  return { record };
})();
