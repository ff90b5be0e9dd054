"""Bulkheads: bounded at once, bounded waiting, the urgent first."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidings.resilience.bulkhead import Admission, Bulkhead, BulkheadRules
from tidings.resilience.priority import Priority

RULES = BulkheadRules(at_once_max=2, waiting_max=2)
USUAL, LATER = Priority.INTERACTIVE, Priority.BACKGROUND


def test_so_many_at_once_then_so_many_wait_then_none() -> None:
    bulkhead = Bulkhead(RULES)
    entries = [bulkhead.enter(ticket, USUAL)[0] for ticket in range(5)]
    assert entries == ["admitted", "admitted", "waiting", "waiting", "refused"]
    assert bulkhead.leave(0) == 2
    assert bulkhead.leave(1) == 3
    assert bulkhead.leave(2) is None


def test_the_urgent_goes_first_and_the_first_among_equals() -> None:
    bulkhead = Bulkhead(BulkheadRules(at_once_max=1, waiting_max=9))
    bulkhead.enter("in", USUAL)
    for ticket, priority in (("late", LATER), ("one", USUAL), ("two", USUAL)):
        assert bulkhead.enter(ticket, priority)[0] is Admission.WAITING
    assert [bulkhead.leave("in"), bulkhead.leave("one"), bulkhead.leave("two")] == [
        "one",
        "two",
        "late",
    ]


def test_the_more_urgent_takes_the_place_of_the_last_of_the_least_urgent() -> None:
    bulkhead = Bulkhead(RULES)
    for ticket, priority in (("a", USUAL), ("b", USUAL), ("c", LATER), ("d", LATER)):
        bulkhead.enter(ticket, priority)
    assert bulkhead.enter("e", USUAL) == (Admission.WAITING, "d")
    assert bulkhead.enter("f", LATER) == (Admission.REFUSED, None)


MOVES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from([USUAL, LATER])), max_size=80
)


@given(MOVES)
def test_the_bounds_hold_and_no_ticket_is_lost(moves: list[tuple[bool, int, Priority]]) -> None:
    bulkhead, states = Bulkhead(RULES), dict[int, Admission]()
    for enters, ticket, priority in moves:
        if enters and ticket not in states:
            entry, ousted = bulkhead.enter(ticket, priority)
            if entry is not Admission.REFUSED:
                states[ticket] = entry
            if isinstance(ousted, int):
                assert states.pop(ousted) is Admission.WAITING
        elif not enters and ticket in states:
            del states[ticket]
            let_in = bulkhead.leave(ticket)
            if isinstance(let_in, int):
                assert states[let_in] is Admission.WAITING
                states[let_in] = Admission.ADMITTED
        counted = Counter(states.values())
        assert bulkhead.inside == counted[Admission.ADMITTED] <= RULES.at_once_max
        assert bulkhead.waiting == counted[Admission.WAITING] <= RULES.waiting_max
        assert bulkhead.waiting == 0 or bulkhead.inside == RULES.at_once_max
