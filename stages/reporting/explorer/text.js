"use strict";
// Text of models and benchmarks only ever enters the page here, as text nodes.

const Text = (() => {
  // What would hide, act or reorder: control characters, odd line ends, marks of direction,
  // invisible characters, halves of surrogate pairs.
  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b\\u200e\\u200f" +
      "\\u2028-\\u202e\\u2060-\\u2069\\ufeff]" +
      "|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]",
    "g",
  );

  function sign(character) {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  }

  // Return text with everything that cannot be seen made visible.
  const visible = (text) => String(text).replace(HIDDEN, sign);

  // Return a new element; children are elements or strings, which become text nodes.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      made.setAttribute(name, value === true ? "" : String(value));
    }
    made.append(
      ...children
        .flat()
        .filter((child) => child !== null && child !== undefined)
        .map((child) => (child instanceof Node ? child : document.createTextNode(visible(child)))),
    );
    return made;
  }

  const number = (value) => value.toLocaleString("en-GB");

  return { visible, element, number };
})();
