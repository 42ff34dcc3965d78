"""List Functions: stages/tasks/environments/list_functions.py.

Covers: the perfect, the empty and the hostile player; keys, seeds and states over many seeds; that
what is asked for is not shown; how lists are read; doubled functions; mistakes in the data files;
linear time; and, where BIGBENCH_RAW names BIG-bench's task files, its functions.
Does not cover: whether BIG-bench's descriptions say what its pairs do, two descriptions of one
function in different words, and how models do.
"""

import json
import os
import re
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import UserError
from stages.tasks.environments.base import Instance
from stages.tasks.environments.list_functions import ListFunctions

GAME = ListFunctions()
INPUTS = [[], [0], [5, 1], [9, 9, 2], [4, 3, 2, 1], [8, 0, 8], [17, 40], [6, 6, 6, 7]]
FUNCTIONS = {
    "the list backwards": lambda numbers: numbers[::-1],
    "each number doubled": lambda numbers: [2 * number for number in numbers],
    "List  backwards": lambda numbers: numbers[::-1],
    "how many numbers there are": lambda numbers: [len(numbers)],
    "nothing": lambda numbers: [],
}
STATE = {
    "function": "each number and one more",
    "example": ["[1]", "[2]"],
    "inputs": ["[0]", "[]", "[7, 8]", "[11]", "[5]"],
    "outputs": ["[1]", "[]", "[8, 9]", "[12]", "[6]"],
}


def write(raw: Path, name: str, task: object) -> Path:
    file = raw / "list_functions" / name / "task.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(task), encoding="utf-8")
    return raw


def task(function: str, pairs: list[tuple[str, str]]) -> dict[str, object]:
    return {
        "name": "ours",
        "description": f'Ours. The target function is "{function}".',
        "examples": [{"input": given, "target": output} for given, output in pairs],
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for index, (name, function) in enumerate(FUNCTIONS.items(), start=1):
        pairs = [(str(numbers), str(function(numbers))) for numbers in INPUTS]
        write(folder, f"c{index:03}", task(name, pairs))
    write(folder, "00_shot_baseline", "no task of a function")
    return folder


def perfect(instance: Instance) -> str:
    function = FUNCTIONS[instance.state["function"]]
    outputs = [function(json.loads(given)) for given in instance.state["inputs"]]
    return "Answer: " + "; ".join(map(str, outputs))


@settings(max_examples=30)
@given(seed=st.integers())
def test_over_seeds(raw: Path, seed: int) -> None:
    instances = list(GAME.instances(raw, seed))
    assert instances == list(GAME.instances(raw, seed))
    assert len({one.key for one in instances}) == len(instances) == 4
    assert len({"c001", "c003"} & {one.key for one in instances}) == 1
    for one in instances:
        state = json.loads(json.dumps(one.state))
        assert state == one.state
        assert GAME.grade(state, [perfect(one)]).score == GAME.best
        assert GAME.grade(state, [f"Answer: {one.target}"]).score == GAME.best
        assert GAME.grade(state, [""]).score == GAME.grade(state, []).score == 0
        assert not GAME.grade(state, [""]).parsed
        assert len({state["example"][0], *state["inputs"]}) == 6
        assert GAME.turn(state, [""]) is None


def test_other_seeds_other_instances(raw: Path) -> None:
    seeds = range(20)
    assert len({tuple(one.key for one in GAME.instances(raw, seed)) for seed in seeds}) > 5
    drawn = {
        tuple(one.state["inputs"])
        for seed in seeds
        for one in GAME.instances(raw, seed)
        if one.key == "c002"
    }
    assert len(drawn) == 20
    assert {given for inputs in drawn for given in inputs} == {str(given) for given in INPUTS}


def test_the_question() -> None:
    turn = GAME.turn(STATE, [])
    assert turn is not None
    assert STATE["function"] in turn.question
    assert "[1] gives the output [2]" in turn.question
    assert [f"{at}. {given}" for at, given in enumerate(STATE["inputs"], start=1)] == (
        turn.question.splitlines()[-5:]
    )
    # What is to be found is not there.
    assert "[12]" not in turn.question
    assert "[8, 9]" not in turn.question


@pytest.mark.parametrize(
    ("reply", "action", "score"),
    [
        ("Answer: [1]; []; [8, 9]; [12]; [6]", "[1]; []; [8, 9]; [12]; [6]", 1),
        ("So:\n**Answer:** [1]; [ ]; [8,9]; [ 12 ]; [06].", "[1]; []; [8, 9]; [12]; [6]", 1),
        ("Answer: [[1], [], [8, 9], [12], [6]]", "[1]; []; [8, 9]; [12]; [6]", 1),
        ("Answer: 1. [1] 2. [] 3. [8, 9] 4. [12] 5. [6]", "[1]; []; [8, 9]; [12]; [6]", 1),
        ("Answer: [1]; []; [9, 8]; [12]; [7]", "[1]; []; [9, 8]; [12]; [7]", 0.6),
        ("Answer: [1]; []", "[1]; []", 0.4),
        ("Answer: [8, 9]; [12]; [6]", "[8, 9]; [12]; [6]", 0),
        ("Answer: [1]; [none]; [8, 9]; [x]; [6]", "[1]; [?]; [8, 9]; [?]; [6]", 0.6),
        ("Answer: [-1]; [1.5]; [²]", None, 0),
        ("Answer: [0]; [1]; []; []; [7, 8]; [8, 9]", None, 0),
        ("Answer: 1; 2; 3", None, 0),
        ("[1]; []; [8, 9]; [12]; [6]", None, 0),
    ],
)
def test_lists(reply: str, action: str | None, score: float) -> None:
    assert GAME.read(STATE, 0, reply) == action
    result = GAME.grade(STATE, [reply])
    assert result.score == pytest.approx(score)
    assert result.parsed == (action is not None)
    assert GAME.solved(result.score) == (score == 1)


@given(text=st.text() | st.text("[]0123456789,; x").map("Answer: {}".format))
def test_any_text(text: str) -> None:
    result = GAME.grade(STATE, [text])
    assert 0 <= result.score <= GAME.best
    assert result.parsed == (GAME.read(STATE, 0, text) is not None)
    assert GAME.same(STATE, 0, text, text)


@given(st.lists(st.lists(st.integers(0, 10**30), max_size=8), min_size=5, max_size=5))
def test_every_list_is_read_back(lists: list[list[int]]) -> None:
    said = "; ".join(map(str, lists))
    assert GAME.read(STATE, 0, f"Answer: {said}") == said


@given(seed=st.integers())
def test_floors_are_legal(seed: int) -> None:
    for reply in (GAME.blind(STATE, 0, Random(seed)), GAME.constant(STATE, 0)):
        action = GAME.read(STATE, 0, reply)
        assert action is not None
        assert len(action.split("; ")) == 5
    assert GAME.grade(STATE, [GAME.constant(STATE, 0)]).score == pytest.approx(0.2)


PAIRS = [(f"[{number}]", f"[{number}]") for number in range(6)]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (task("same", PAIRS[:5]), "examples: fewer than 6 different inputs"),
        (task("same", [*PAIRS[:5], PAIRS[0]]), "examples: fewer than 6 different inputs"),
        (task("same", [*PAIRS[:5], ("[1 2]", "[1]")]), r"examples\.5\.input: String should match"),
        (task("same", [*PAIRS[:5], ("[1]", "1")]), r"examples\.5\.target: String should match"),
        ({**task("", PAIRS), "description": "What?"}, "description: does not tell"),
        ({"description": "What?"}, "examples: Field required"),
    ],
)
def test_mistakes_in_the_files(tmp_path: Path, broken: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list(GAME.instances(write(tmp_path, "c001", broken), 0))
    assert str(Path("c001") / "task.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list_functions.*no such file"):
        list(GAME.instances(tmp_path, 0))


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "[]" * 25_000, "[1" + ", 1" * 16_600, "[" + " " * 50_000, "Answer: [" * 5_500],
)
def test_linear_time(text: str) -> None:
    start = time.process_time()
    GAME.grade(STATE, [text])
    GAME.grade(STATE, ["Answer: " + text + "]"])
    assert time.process_time() - start < 1


def test_big_bench() -> None:
    if "BIGBENCH_RAW" not in os.environ:
        pytest.skip("BIG-bench's files are not here: set BIGBENCH_RAW to benchmark_tasks")
    raw = Path(os.environ["BIGBENCH_RAW"])
    instances = list(GAME.instances(raw, 0))
    assert len({one.key for one in instances}) == len(instances) >= 200
    for one in instances:
        file = raw / "list_functions" / one.key / "task.json"
        released = json.loads(file.read_text(encoding="utf-8"))
        pairs = {pair["input"]: pair["target"] for pair in released["examples"]}
        assert f'"{one.state["function"]}"' in released["description"]
        asked = GAME.turn(one.state, [])
        assert asked is not None
        inputs = re.findall(r"(?m)^\d\. (\[.*\])$", asked.question)
        answer = "Answer: " + "; ".join(pairs[given] for given in inputs)
        assert GAME.grade(one.state, [answer]).score == 1
