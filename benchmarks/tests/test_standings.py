"""Who is first in a row, who is next, and how far Ferrio is from the best other loop."""

from report import standings
from results import echo_sample, micro_sample


def rows(*entries: tuple[str, float]) -> list[standings.Standing]:
    return standings.standings([micro_sample("spawn", loop, n, ns) for n in range(3) for loop, ns in entries])


def test_the_next_of_ferrio_is_another_makers_loop() -> None:
    (row,) = rows(("uvloop", 300.0), ("ferrio", 110.0), ("ferrio.asyncio", 100.0), ("zuvloop", 220.0))
    assert (row.first, row.figure, row.next) == ("ferrio.asyncio", 100.0, "zuvloop")
    assert row.next_ratio == {"median": 2.2, "min": 2.2, "max": 2.2}
    assert row.ours_to_best == {"median": 0.5, "min": 0.5, "max": 0.5}
    assert standings.behind([row]) == []


def test_when_ferrio_is_behind_the_row_says_how_far() -> None:
    (row,) = rows(("uvloop", 100.0), ("ferrio", 150.0), ("zuvloop", 120.0))
    assert (row.first, row.next) == ("uvloop", "zuvloop")
    assert row.ours_to_best == {"median": 1.5, "min": 1.5, "max": 1.5}
    assert standings.behind([row]) == [row]


def test_a_distance_is_the_median_of_the_rounds_own_ratios() -> None:
    samples = [echo_sample("uvloop", n, cpu) for n, cpu in enumerate([10.0, 20.0, 40.0])]
    samples += [echo_sample("ferrio", n, cpu) for n, cpu in enumerate([5.0, 11.0, 20.0])]
    (row,) = standings.standings(samples)
    assert row.ours_to_best == {"median": 0.5, "min": 0.5, "max": 0.55}


def test_the_limit_and_a_loop_alone_have_no_rank_to_share() -> None:
    samples = [echo_sample("c", 0, 5.0), echo_sample("ferrio", 0, 8.0)]
    (row,) = standings.standings(samples)
    assert (row.first, row.next, row.next_ratio, row.ours_to_best) == ("ferrio", None, None, None)
    assert standings.standings([echo_sample("c", 0, 5.0)]) == []
