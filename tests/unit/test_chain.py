"""A chain of events: whatever is changed in it is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.takeovers import KEY, MODEL

from retuned.registry.history.chain import (
    BEGINNING,
    Checkpoint,
    Entry,
    Link,
    Reading,
    genuine,
    link_of,
    linked,
    read,
)
from retuned.registry.signing import Forged, SigningKey, UnknownKey

NEW = SigningKey(bytes(range(1, 33)))
BOTH = SigningKey(NEW.secret, (KEY.secret,))

Chain = tuple[Entry, ...]
CHAINS = st.lists(st.binary(max_size=20), min_size=2, max_size=8).map(
    lambda texts: linked(MODEL, BEGINNING, texts, KEY)
)


def look(chain: Chain, remembered: Link = BEGINNING, key: SigningKey = KEY) -> Reading:
    return read(MODEL, chain, BEGINNING, key, remembered=remembered)


def head(chain: Chain) -> Link:
    return link_of(chain[-1])


def events(count: int, key: SigningKey = KEY, after: Link = BEGINNING) -> Chain:
    return linked(MODEL, after, [b"event %d" % n for n in range(count)], key)


@given(CHAINS)
def test_a_chain_verifies_as_it_was_linked(chain: Chain) -> None:
    reading = look(chain, head(chain))
    assert reading.findings == []
    assert reading.entries == reading.good == len(chain)
    assert reading.last == head(chain)
    assert list(genuine(MODEL, chain, BEGINNING, KEY)) == list(chain)


@given(CHAINS, st.data())
def test_a_text_that_was_changed_is_found(chain: Chain, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 1))
    text = data.draw(st.binary(max_size=20).filter(lambda text: text != chain[at].text))
    changed = (*chain[:at], replace(chain[at], text=text), *chain[at + 1 :])
    reading = look(changed, head(chain))
    assert reading.findings == [f"event {at + 1} was changed"]
    assert reading.good == at


@given(CHAINS, st.data())
def test_whatever_is_changed_in_a_link_is_found(chain: Chain, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 1))
    link = link_of(chain[at])
    other = data.draw(
        st.one_of(
            st.integers(0, 20).map(lambda number: replace(link, number=number)),
            st.sampled_from([link_of(entry).digest for entry in chain] + ["", "ab" * 32]).map(
                lambda digest: replace(link, digest=digest)
            ),
            st.sampled_from([link_of(entry).signature for entry in chain] + ["", "x:y"]).map(
                lambda signature: replace(link, signature=signature)
            ),
            st.none(),
        ).filter(lambda other: other != link)
    )
    changed = (*chain[:at], Entry(chain[at].text, other), *chain[at + 1 :])
    reading = look(changed, head(chain))
    assert reading.findings
    assert reading.good <= at


@given(CHAINS, st.data())
def test_events_that_were_taken_out_are_found(chain: Chain, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(chain) - 1))
    last = data.draw(st.integers(first + 1, len(chain)))
    reading = look((*chain[:first], *chain[last:]), head(chain))
    (finding,) = reading.findings
    told = f"event {last}" if last == first + 1 else f"events {first + 1} to {last}"
    assert told in finding
    assert ("cut off" in finding) == (last == len(chain))


@given(CHAINS, st.data())
def test_events_that_were_put_in_are_found(chain: Chain, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain)))
    strangers = linked(MODEL, link_of(chain[at - 1]) if at else BEGINNING, [b"x"], NEW)
    entry = data.draw(st.sampled_from([*chain, *strangers, Entry(b"a fake", None)]))
    reading = look((*chain[:at], entry, *chain[at:]), head(chain))
    assert reading.findings


@given(CHAINS, st.data())
def test_events_in_another_order_are_found(chain: Chain, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(chain))))
    reading = look(tuple(chain[n] for n in order), head(chain))
    assert bool(reading.findings) == (list(order) != sorted(order))


def test_another_models_events_are_found() -> None:
    chain = linked("other", BEGINNING, [b"a", b"b"], KEY)
    assert look(chain).findings == ["event 1 was changed", "event 2 was changed"]


def test_another_history_of_the_same_key_is_found() -> None:
    ours = events(3)
    theirs = linked(MODEL, BEGINNING, [b"a", b"b", b"c", b"d"], KEY)
    assert look(theirs).findings == []
    assert look(theirs, head(ours)).findings == ["event 3 is another one than was seen before"]


def test_what_was_linked_after_a_change_is_still_told_genuine() -> None:
    chain = events(5)
    changed = (*chain[:2], Entry(b"fake", chain[2].link), *chain[3:])
    assert list(genuine(MODEL, changed, BEGINNING, KEY)) == [*chain[:2], *chain[3:]]


# Keys


def test_what_an_older_key_signed_verifies_and_outlives_it() -> None:
    old = events(3)
    chain = (*old, *events(2, BOTH, head(old)))
    assert look(chain, key=BOTH).findings == []
    # The old key is forgotten: one signature of the new one vouches for all before it.
    assert look(chain, key=NEW).findings == []
    assert look(chain, key=NEW).good == 5
    changed = (*chain[:1], Entry(b"fake", chain[1].link), *chain[2:])
    assert look(changed, key=NEW).findings[0] == "event 2 was changed"


def test_an_end_of_an_unknown_key_is_told_as_such() -> None:
    ours = events(2)
    chain = (*ours, *events(2, NEW, head(ours)))
    reading = look(chain, head(ours))
    assert reading.is_foreign
    assert reading.good == 2
    (finding,) = reading.findings
    assert finding.startswith("events 3 to 4: it was signed with another key")
    # Not by itself: with something else wrong before it.
    assert not look(chain[1:]).is_foreign


# Checkpoints


def test_a_checkpoint_stands_for_what_was_let_go() -> None:
    chain = events(5)
    link = link_of(chain[1])
    checkpoint = Checkpoint(model=MODEL, number=2, digest=link.digest, at=9.0)
    found = Checkpoint.read(MODEL, checkpoint.sealed(KEY), KEY)
    assert found == checkpoint == Checkpoint.trusted(checkpoint.sealed(NEW))
    assert read(MODEL, chain[2:], found.link, KEY, remembered=head(chain)).findings == []
    assert read(MODEL, chain[3:], found.link, KEY).findings == ["event 3: not there"]
    assert read(MODEL, chain[1:], found.link, KEY).findings == [
        "event 2 stands after event 2: it was moved or put in again"
    ]


def test_a_checkpoint_of_another_model_or_key_is_refused() -> None:
    checkpoint = Checkpoint(model=MODEL, number=2, digest="ab", at=9.0)
    with pytest.raises(Forged, match="that of demo: it was moved"):
        Checkpoint.read("other", checkpoint.sealed(KEY), KEY)
    with pytest.raises(UnknownKey):
        Checkpoint.read(MODEL, checkpoint.sealed(NEW), KEY)
    with pytest.raises(Forged, match="does not fit"):
        Checkpoint.read(MODEL, checkpoint.sealed(KEY).replace(b'"number":2', b'"number":3'), KEY)


@pytest.mark.parametrize(
    "text", ["", "1 ab", "x ab cd", "-1 ab cd", "1 ab cd ef", "² ab cd", f"{10**15} ab cd"]
)
def test_what_is_no_link_is_none(text: str) -> None:
    assert Link.of(text) is None
