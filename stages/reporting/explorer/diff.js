"use strict";
// Word diff: the longest common subsequence of words, exactly, up to a bound.

const Diff = (() => {
  const BOUND = 4_000_000; // cells of the table: two texts of 2,000 words

  // Return the words of a text, each with the white space that follows it.
  const words = (text) => text.match(/\S+\s*|\s+/g) || [];

  // Compare two texts. Returns {before, after, exact}: runs of [text, whether it is changed], of
  // either text; where the bound is passed, `exact` is false and all between the words that both
  // texts begin and end with counts as changed. Differences in white space count as none.
  function compare(one, other) {
    const [a, b] = [words(one), words(other)];
    const [x, y] = [a, b].map((list) => list.map((word) => word.trimEnd()));
    let start = 0;
    while (start < x.length && start < y.length && x[start] === y[start]) start++;
    let end = 0;
    const most = Math.min(x.length, y.length) - start;
    while (end < most && x[x.length - 1 - end] === y[y.length - 1 - end]) end++;
    const [n, m] = [x.length - start - end, y.length - start - end];
    const changed = [new Uint8Array(x.length), new Uint8Array(y.length)];
    changed[0].fill(1, start, start + n);
    changed[1].fill(1, start, start + m);
    const exact = n * m <= BOUND;
    if (exact && n && m) mark(x, y, start, n, m, changed);
    return { before: runs(a, changed[0]), after: runs(b, changed[1]), exact };
  }

  // Clear the mark of every word in a longest common subsequence of n and m words from `start`.
  function mark(x, y, start, n, m, changed) {
    const width = m + 1;
    const longest = new Uint16Array((n + 1) * width); // of what is left, from either place
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        const at = i * width + j;
        longest[at] =
          x[start + i] === y[start + j]
            ? longest[at + width + 1] + 1
            : Math.max(longest[at + width], longest[at + 1]);
      }
    }
    let [i, j] = [0, 0];
    while (i < n && j < m) {
      if (x[start + i] === y[start + j]) {
        changed[0][start + i++] = 0;
        changed[1][start + j++] = 0;
      } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i++;
      else j++;
    }
  }

  function runs(list, changed) {
    const found = [];
    list.forEach((word, place) => {
      const flag = changed[place] === 1;
      if (found.length && found.at(-1)[1] === flag) found.at(-1)[0] += word;
      else found.push([word, flag]);
    });
    return found;
  }

  return { compare };
})();
