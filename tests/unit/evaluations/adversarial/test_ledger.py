"""The ledger: whole lines only, its own answers first, others' where they mean the same."""

from __future__ import annotations

import json
import math

import pytest
import torch

from hugbench.evaluations.adversarial.ledger import Answers, Ledger, Trial

HEAD = {"version": "0", "weights": "w", "images": "i", "classes": [0, 1], "seed": 0, "plan": ["a"]}
OTHER = {**HEAD, "plan": ["a", "b"]}
PUSH = Trial("push", "Linf", "1/255")


def answers(images, fooled, margins=None):
    margins = [0.5 - f for f in fooled] if margins is None else margins
    return Answers(torch.tensor(images), torch.tensor(fooled, dtype=torch.bool), torch.tensor(margins))


def told(found: Answers):
    return dict(zip(found.images.tolist(), found.fooled.tolist(), strict=True))


def filled(folder, head=HEAD, trial=PUSH):
    ledger = Ledger(folder, head)
    ledger.begin(0, trial, torch.arange(6))
    ledger.add(0, trial, 20, answers([0, 1], [1, 0]))
    ledger.add(0, trial, 20, answers([2, 3], [0, 1], [0.1, math.nan]))
    return ledger


def test_what_was_written_is_there_again_and_nothing_else(tmp_path):
    filled(tmp_path).note("card", {"value": 0.25})
    again = Ledger(tmp_path, HEAD)
    found, done = again.begin(0, PUSH, torch.arange(6))
    assert done == 2
    assert told(found) == {0: True, 1: False, 2: False, 3: True}
    assert found.margins[2].item() == pytest.approx(0.1)
    assert found.margins[3].isnan()
    assert again.noted("card") == {"value": 0.25}
    assert again.noted("other") is None
    assert again.cost(0) == {"known": 0, "batches": 2, "attacked": 4}
    lines = next(tmp_path.iterdir()).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[0].pop("sha256")
    assert rows[0] == {"head": HEAD}
    assert rows[3]["batch"] == 1
    assert rows[3]["eps"] == "1/255"
    assert rows[3]["steps"] == 20
    assert rows[3]["margins"][1] is None


def test_killed_at_any_byte_it_goes_on_from_the_last_whole_line(tmp_path):
    filled(tmp_path / "whole")
    whole = next((tmp_path / "whole").iterdir())
    text = whole.read_bytes()
    ends = [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]
    folder = tmp_path / "cut"
    folder.mkdir()
    for end in range(0, len(text), 7):
        (folder / whole.name).write_bytes(text[:end])
        ledger = Ledger(folder, HEAD)
        kept = max([e for e in ends if e <= end], default=0)
        assert (folder / whole.name).read_bytes()[:kept] == text[:kept]
        done = ledger.begin(0, PUSH, torch.arange(6))[1]
        assert done == max(0, sum(e <= end for e in ends) - 2)
        for batch in (answers([0, 1], [1, 0]), answers([2, 3], [0, 1], [0.1, math.nan]))[done:]:
            ledger.add(0, PUSH, 20, batch)
        assert (folder / whole.name).read_bytes() == text


def test_garbage_in_the_middle_ends_it_there(tmp_path):
    filled(tmp_path)
    path = next(tmp_path.iterdir())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\x00{nonsense\n", *lines[2:]]))
    assert Ledger(tmp_path, HEAD).begin(0, PUSH, torch.arange(6))[1] == 0
    assert path.read_bytes() == b"".join(lines[:2])


def test_a_flipped_bit_ends_it_there_and_never_becomes_an_answer(tmp_path):
    filled(tmp_path / "whole")
    whole = next((tmp_path / "whole").iterdir())
    text = whole.read_bytes()
    starts = [0] + [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]
    folder = tmp_path / "flipped"
    folder.mkdir()
    for place in range(0, len(text), 5):
        flipped = text[:place] + bytes([text[place] ^ (1 << place % 8)]) + text[place + 1 :]
        (folder / whole.name).write_bytes(flipped)
        found, done = Ledger(folder, HEAD).begin(0, PUSH, torch.arange(6))
        line = sum(start <= place for start in starts) - 1
        assert done == max(0, line - 2)
        assert told(found) == dict(list({0: True, 1: False, 2: False, 3: True}.items())[: 2 * done])


@pytest.mark.parametrize("key", ["version", "weights", "images", "classes"])
def test_of_other_weights_images_or_classes_nothing_is_left(tmp_path, key):
    filled(tmp_path)
    ledger = Ledger(tmp_path, {**HEAD, key: ["x"]})
    assert len(ledger.begin(0, PUSH, torch.arange(6))[0].images) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_without_a_head_is_removed(tmp_path):
    (tmp_path / "stray.jsonl").write_text('[1]\n{"round": 0}\n')
    Ledger(tmp_path, HEAD)
    assert not (tmp_path / "stray.jsonl").exists()


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (PUSH, {0: True, 1: False, 2: False, 3: True}),
        (Trial("push", "Linf", "2/510"), {0: True, 1: False, 2: False, 3: True}),
        (Trial("push", "Linf", "2/255"), {0: True, 3: True}),
        (Trial("push", "Linf", "0.5/255"), {}),
        (Trial("push", "L2", "1/255"), {}),
        (Trial("push x 16", "Linf", "1/255"), {}),
    ],
)
def test_another_plan_takes_what_means_the_same(tmp_path, trial, expected):
    filled(tmp_path)
    ledger = Ledger(tmp_path, OTHER)
    assert told(ledger.begin(4, trial, torch.arange(6))[0]) == expected
    assert told(ledger.begin(5, trial, torch.tensor([0, 1]))[0]) == {
        image: fooled for image, fooled in expected.items() if image < 2
    }


def test_a_success_counts_before_a_failure_and_each_image_once(tmp_path):
    filled(tmp_path)
    second = Ledger(tmp_path, OTHER)
    smaller = PUSH._replace(eps="1/510")
    second.begin(0, smaller, torch.arange(6))
    second.add(0, smaller, 20, answers([0, 1, 4], [1, 1, 1]))
    found = Ledger(tmp_path, {**HEAD, "plan": "c"}).begin(0, PUSH, torch.arange(6))[0]
    assert told(found) == {0: True, 1: True, 2: False, 3: True, 4: True}
    assert len(found.images) == 5


def test_another_seed_is_another_draw(tmp_path):
    filled(tmp_path)
    assert len(Ledger(tmp_path, {**HEAD, "seed": 1}).begin(0, PUSH, torch.arange(6))[0].images) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_what_others_learn_later_changes_nothing_that_has_begun(tmp_path):
    mine = filled(tmp_path)
    later = Ledger(tmp_path, OTHER)
    later.begin(0, PUSH, torch.arange(6))
    later.add(0, PUSH, 20, answers([4, 5], [1, 1]))
    again = Ledger(tmp_path, HEAD)
    assert told(again.begin(0, PUSH, torch.arange(6))[0]) == told(mine.begin(0, PUSH, torch.arange(6))[0])


def test_without_a_folder_it_remembers_as_long_as_it_lives():
    ledger = filled(None)
    assert told(ledger.begin(0, PUSH, torch.arange(6))[0]) == {0: True, 1: False, 2: False, 3: True}
