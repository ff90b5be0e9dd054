"""Pieces of an answer joined into ranges: nothing is lost, and any reader gets just the rest."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.events import Event, EventType
from tidings.events.ranges import Entry, after, is_piece, join, joined

TEXTS = st.lists(st.text(max_size=6), min_size=1, max_size=12)


def piece(offset: int, text: str, message: str = "m1", run: str = "r1") -> Event:
    return Event(
        type=EventType.ANSWER_DELTA,
        event_id=f"e_{offset:026d}",
        stream="thread:t1",
        epoch="e1",
        offset=offset,
        timestamp="2026-01-01T00:00:00.000Z",
        run_id=run,
        payload={"message_id": message, "text": text},
    )


def other(offset: int) -> Event:
    return msgspec.structs.replace(piece(offset, ""), type=EventType.AGENT_THINKING, payload={})


def entry(event: Event) -> Entry:
    return Entry(event.offset, msgspec.json.encode(event), event.first)


def read(entries: list[Entry]) -> list[Event]:
    return [msgspec.json.decode(e.frame, type=Event) for e in entries]


@given(TEXTS)
def test_a_range_has_all_the_text_and_the_place_of_its_last_piece(texts: list[str]) -> None:
    pieces = [piece(n, text) for n, text in enumerate(texts, start=5)]
    whole = join(pieces)
    assert whole.payload["text"] == "".join(texts)
    assert (whole.first, whole.offset) == (5, 4 + len(texts))
    assert whole.event_id == pieces[-1].event_id


@given(TEXTS, st.data())
def test_a_reader_within_a_range_gets_the_rest_of_it(texts: list[str], data: st.DataObject) -> None:
    whole = entry(join([piece(n, text) for n, text in enumerate(texts, start=1)]))
    had = data.draw(st.integers(0, len(texts) - 1))
    (rest,) = read([after(whole, had)])
    assert (rest.first, rest.offset) == (had + 1, len(texts))
    assert rest.payload["text"] == "".join(texts[had:])
    later = data.draw(st.integers(had, len(texts) - 1))
    (again,) = read([after(after(whole, had), later)])
    assert again.payload["text"] == "".join(texts[later:])


@given(TEXTS, TEXTS)
def test_joining_twice_is_joining_once(left: list[str], right: list[str]) -> None:
    pieces = [entry(piece(n, text)) for n, text in enumerate(left + right, start=1)]
    halves = [*joined(pieces[: len(left)]), *joined(pieces[len(left) :])]
    assert read(list(joined(halves))) == read(list(joined(pieces)))


def test_only_neighbouring_pieces_of_one_message_are_joined() -> None:
    events = [
        piece(1, "a"),
        piece(2, "b"),
        other(3),
        piece(4, "c"),
        piece(5, "d", message="m2"),
        piece(6, "e", message="m2", run="r2"),
        piece(8, "f", message="m2", run="r2"),
    ]
    spans = [(e.first, e.offset) for e in joined(entry(event) for event in events)]
    assert spans == [(1, 2), (3, 3), (4, 4), (5, 5), (6, 6), (8, 8)]


def test_a_single_event_passes_as_the_bytes_that_it_is() -> None:
    alone = entry(other(1))
    assert list(joined([alone])) == [alone]
    assert not is_piece(alone.frame)
    assert is_piece(entry(piece(1, "a")).frame)
    assert after(alone, 0) is alone
