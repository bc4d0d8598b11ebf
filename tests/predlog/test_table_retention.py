"""What the table gives up: predictions, the oldest first, and never more than its bounds ask for."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penstock.predlog.table_retention import TableLimits, given_up, trim
from penstock.predlog.table_store import TableFolder

DAY_S = 86_400
FIRST_S = 1_893_456_000  # 2030-01-01


def key(day, number=0):
    start = f"203001{day:02}T00000{number}.000Z"
    return f"predictions/endpoint=churn/date=2030-01-{day:02}/part-{start}-0a1b-0-d69a5b8b.parquet"


@given(
    st.dictionaries(st.tuples(st.integers(1, 28), st.integers(0, 9)), st.integers(0, 100), max_size=30),
    st.integers(0, 1000),
    st.integers(0, 28),
)
def test_the_oldest_go_until_the_bounds_hold_and_no_more(parts, most, age_days):
    sizes = {key(*part): size for part, size in parts.items()}
    now_s = FIRST_S + 27 * DAY_S
    doomed = given_up(sizes, now_s, TableLimits(max_age_s=age_days * DAY_S, max_bytes=most))
    order = [key(*part) for part in sorted(parts)]
    assert doomed == order[: len(doomed)]
    left = order[len(doomed) :]
    assert sum(sizes[one] for one in left) <= most
    assert all(one >= key(28 - age_days) for one in left)
    if doomed:
        # The last one had to go, too.
        last = doomed[-1]
        assert last < key(28 - age_days) or sizes[last] + sum(sizes[one] for one in left) > most


def test_what_is_not_ours_is_neither_counted_nor_deleted(tmp_path):
    table, cache = tmp_path / "table", tmp_path / "cache"
    for name in (key(1), key(2), "predictions/notes.txt", "outcomes/x.parquet"):
        for folder in (table, cache):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x" * 10)
    store = TableFolder(table)
    assert store.sizes("predictions") == {key(1): 10, key(2): 10, "predictions/notes.txt": 10}
    assert trim(store, cache, FIRST_S, TableLimits(max_bytes=10)) == [key(1)]
    assert trim(store, cache, FIRST_S, TableLimits(max_bytes=10)) == []
    left = {path.relative_to(table).as_posix() for path in table.rglob("*") if path.is_file()}
    assert left == {key(2), "predictions/notes.txt", "outcomes/x.parquet"}
    assert not (cache / key(1)).exists() and Path(cache, key(2)).exists()
