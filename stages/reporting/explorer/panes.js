"use strict";
// Original, feedback and revision side by side, the words that differ marked.

const Panes = (() => {
  const { element, number } = Text;

  // Return what each exchange was shown beyond what the one before had: [{messages, fresh}].
  // A conversation that does not go on from the one before (Taboo's guess) is fresh.
  function steps(turns) {
    const messages = turns.map(({ shown }) =>
      Array.from({ length: shown.length / 2 }, (_, at) => ({ role: shown[2 * at], text: shown[2 * at + 1] })),
    );
    return messages.map((all, at) => {
      const before = at ? messages[at - 1] : [];
      const goes = at > 0 && before.every((message, place) => all[place]?.text === message.text);
      return { messages: goes ? all.slice(before.length + 1) : all, fresh: at > 0 && !goes };
    });
  }

  const ENDED = {
    length: "cut by the token limit",
    content_filter: "stopped by a content filter",
    refusal: "refused",
    bad_request: "the request was refused",
    error: "no reply: error",
  };

  function note(turn) {
    const parts = [];
    if (turn.ended !== "stop") parts.push(ENDED[turn.ended]);
    if (turn.detail) parts.push(turn.detail);
    if (turn.wrote !== undefined) parts.push(`${number(turn.wrote)} tokens`);
    return parts.length ? element("p", { class: "quiet note" }, parts.join(" · ")) : null;
  }

  const pre = (...children) => element("pre", { class: "text" }, ...children);
  const empty = () => element("span", { class: "quiet" }, "(empty)");

  function marked(runs, tag) {
    if (!runs.length) return [empty()];
    return runs.flatMap(([text, changed]) => {
      if (!changed) return [text];
      const end = text.trimEnd().length;
      return [element(tag, {}, text.slice(0, end)), text.slice(end)];
    });
  }

  // Return the replies of a trajectory; `shown` gives what the reply of each turn is shown as.
  function replies(turns, text, shown) {
    const of = steps(turns);
    return turns.map((turn, at) => [
      turns.length > 1 ? element("h4", {}, `Turn ${at + 1}${of[at].fresh ? ", a fresh conversation" : ""}`) : null,
      at > 0
        ? of[at].messages
            .filter(({ role }) => role !== "system")
            .map((message) => element("pre", { class: "text asked" }, text(message.text)))
        : null,
      pre(...shown(at)),
      note(turn),
    ]).flat(2);
  }

  function pane(title, children, kind) {
    return element("section", { class: `pane ${kind}`, "aria-label": title }, element("h3", {}, title), children);
  }

  // Return the panes of a record: the answer alone, or original, feedback (if any) and revision.
  function build(record) {
    const { own, original, text } = record;
    const raw = (turns, at) => [text(turns[at].reply) || empty()];
    const box = element("div", { class: "panes" });
    if (!original) {
      box.append(pane("Answer", replies(own.turns, text, (at) => raw(own.turns, at)), "only"));
      return box;
    }
    const pairs = own.turns.map((turn, at) =>
      original.turns[at] ? Diff.compare(text(original.turns[at].reply), text(turn.reply)) : null,
    );
    const side = (turns, key, tag) => (at) => (pairs[at] ? marked(pairs[at][key], tag) : raw(turns, at));
    box.append(pane("Original", replies(original.turns, text, side(original.turns, "before", "del")), "original"));
    if (own.feedback !== undefined || own.kept !== undefined) {
      box.append(pane("Feedback", feedback(own, text), "feedback"));
    }
    const title = own.feedback !== undefined || own.kept !== undefined ? "Revision" : "New answer";
    const after = replies(own.turns, text, side(own.turns, "after", "ins"));
    if (own.kept !== undefined) {
      after.unshift(element("p", { class: "quiet note" }, "The original stands: there was no feedback to follow."));
    }
    box.append(pane(title, after, "revision"));
    box.classList.add(box.children.length === 3 ? "three" : "two");
    if (pairs.some((pair) => pair && !pair.exact)) {
      box.prepend(
        element(
          "p",
          { class: "quiet wide" },
          "These texts are too long for a word diff: all between their common beginning and end is marked.",
        ),
      );
    }
    return box;
  }

  function feedback(own, text) {
    const parts = [];
    if (own.by !== undefined) parts.push(`by ${Rows.label(own.by)}`);
    if (own.source !== undefined) parts.push(`written about ${own.source}`);
    if (own.status === "truncated") parts.push("cut by the token limit");
    return [
      own.feedback === undefined
        ? element("p", { class: "quiet" }, `None: ${own.kept.replaceAll("_", " ")}.`)
        : pre(text(own.feedback) || empty()),
      parts.length ? element("p", { class: "quiet note" }, parts.join(" · ")) : null,
    ];
  }

  // Return the task as the model was given it: what is shown before the first reply. A retry was
  // shown more; the task itself is in what it revises.
  function task(record) {
    const { own, original } = record;
    const retried = own.feedback !== undefined || own.kept !== undefined;
    const { shown } = (retried && original ? original : own).turns[0];
    const texts = shown.filter((_, at) => at % 2 && shown[at - 1] !== "system").map(record.text);
    return element(
      "section",
      { class: "task", "aria-label": "Task" },
      element("h3", {}, "Task"),
      texts.length ? texts.map((each) => pre(each)) : pre(empty()),
    );
  }

  // Return all that a model was shown, message by message, closed at first.
  function transcript(record) {
    return element(
      "details",
      { class: "transcript" },
      element("summary", {}, "All that the model was shown"),
      record.own.turns.map((turn, at) => [
        record.own.turns.length > 1 ? element("h4", {}, `Turn ${at + 1}`) : null,
        Array.from({ length: turn.shown.length / 2 }, (_, place) => [
          element("p", { class: "role" }, turn.shown[2 * place]),
          pre(record.text(turn.shown[2 * place + 1])),
        ]),
      ]).flat(3),
    );
  }

  return { build, task, transcript };
})();
