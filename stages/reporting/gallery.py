"""All figures of the report, in the order in which it shows them, each with its caption."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from stages.files import write_text
from stages.reporting import (
    captions,
    curve,
    figure_conditions,
    figure_detection,
    figure_matching,
    figure_subtasks,
    figure_transitions,
    losses,
)
from stages.reporting.built import Built


class Drawing(NamedTuple):
    """One figure.

    Attributes:
        slug: name of its files.
        title: in a few words.
        draw: writes it, given the path without suffix.
        caption: plain text, in which names stand as they come: escape it where it is printed.
    """

    slug: str
    title: str
    draw: Callable[[Built, Path], None]
    caption: Callable[[Built], str]


def _best_of_k(built: Built, to: Path) -> None:
    curve.draw(built.best_of_k, to, float(built.results.items["chance"].mean()))


def _best_of_k_caption(built: Built) -> str:
    return captions.joined(
        "Score of the best of k candidates by who chooses: the exact expectation over all k of the "
        "candidates drawn. No selection is their mean, the oracle a ceiling that knows the truth. "
        "Student and teacher were asked to choose among all candidates only; marks of one k stand "
        "a little apart.",
        captions.about(built),
        captions.intervals(built),
    )


def _training(built: Built, to: Path) -> None:
    learners = list(dict.fromkeys(built.curves["learner"]))
    losses.draw(built.curves, learners, built.labels, to)


def _training_caption(built: Built) -> str:
    runs = sorted(set(built.curves["runs"]))
    learners = list(dict.fromkeys(built.curves["learner"]))
    count = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return captions.joined(
        "Loss of SFT (nats a token), loss and reward margin of DPO over the steps of training, as "
        "logged, by method: the mean over "
        f"seeds and models (runs averaged at a step: {count}). It is the loss on train items, and "
        "that of methods that learn from different texts does not compare. No intervals.",
        captions.about(built, learners),
    )


FIGURES: tuple[Drawing, ...] = (
    Drawing(
        "conditions",
        "Feedback conditions and controls",
        figure_conditions.draw,
        figure_conditions.caption,
    ),
    Drawing(
        "matching",
        "Match rate against correct if matched",
        figure_matching.draw,
        figure_matching.caption,
    ),
    Drawing(
        "transitions",
        "What a retry wins and loses",
        figure_transitions.draw,
        figure_transitions.caption,
    ),
    Drawing(
        "subtasks",
        "Subtasks against chance",
        figure_subtasks.draw,
        figure_subtasks.caption,
    ),
    Drawing("best_of_k", "Best of k", _best_of_k, _best_of_k_caption),
    Drawing("training", "Training", _training, _training_caption),
    Drawing(
        "detection",
        "Error identification",
        figure_detection.draw,
        figure_detection.caption,
    ),
)


def draw_all(built: Built, folder: Path) -> None:
    """Write every figure to `folder`: `<slug>.pdf`, `<slug>.png` and its caption, `<slug>.txt`."""
    for figure in FIGURES:
        figure.draw(built, folder / figure.slug)
        write_text(folder / f"{figure.slug}.txt", figure.caption(built) + "\n")
