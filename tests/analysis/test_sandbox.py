"""The sandbox: hostile SQL gets an error of its kind, and nothing of the host."""

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tests.analysis.workbench import SMALL, numbers, run
from tidings.analysis.dataset import Dataset
from tidings.analysis.sandbox.frames import Rows
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.errors import DeadlineExceeded, TidingsError

CANARY = "canary-7c1f"
REACHING_OUT = [
    "select * from read_csv('{canary}')",
    "select * from read_text('{canary}')",
    "select * from '{canary}'",
    "select * from '/etc/passwd'",
    "select * from read_csv('/etc/passwd')",
    "select * from read_blob('/proc/self/environ')",
    "select * from glob('/etc/*')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from read_csv('http://169.254.169.254/')",
    "copy (select 1) to '/tmp/out.csv'",
    "export database '/tmp/out'",
    "attach '/tmp/other.duckdb'",
    "install httpfs",
    "load httpfs",
    "create persistent secret (type s3)",
    "set threads = 8",
    "reset threads",
    "pragma enable_profiling",
    "call enable_logging(storage = 'file')",
    "set variable x = 1",
]
NOT_ONE_SELECT = [
    "",
    "select 1; drop table f0.usage",
    "select 1; select 2",
    "explain analyze select 1",
    "explain /* */ analyze select 1",
    "explain analyze delete from f0.usage",
    "prepare p as select 1",
    "pivot usage on n",
    "drop view usage",
    "create table t as select 1",
    "insert into f0.usage values (1)",
    "delete from f0.usage",
    "begin",
    "vacuum",
]
ENDLESS = [
    "with recursive r(i) as (select 0 union all select i + 1 from r) select count(*) from r",
    "select count(*) from range(1000000000000) a, range(1000000) b",
    "select levenshtein(repeat('a', 200000), repeat('b', 200000))",
    "select lpad('x', 2000000000, 'y')",
]
GREEDY = [
    "select length(repeat('x', 1500000000))",
    "select list_sum(range(2000000000))",
    "select length(string_agg(range::varchar || repeat('x', 50), ',')) from range(100000000)",
    "select printf('%2000000000d', 1)",
]


def codes_of(root: Path, statements: list[str], deadline_seconds: float = 20) -> dict[str, str]:
    """Return what becomes of each statement."""
    dataset = numbers(root / "data.duckdb")
    codes = {}

    async def scenario(sandbox: Sandbox) -> None:
        for sql in statements:
            try:
                rows = await sandbox.query(dataset, sql, {}, deadline_seconds=deadline_seconds)
                codes[sql] = f"answered: {rows}"
            except TidingsError as error:
                codes[sql] = error.code if CANARY not in error.message else "leaked"

    run(root, scenario)
    return codes


def code_of(root: Path, sql: str, deadline_seconds: float = 20) -> str:
    return codes_of(root, [sql], deadline_seconds)[sql]


def test_nothing_outside_the_data_can_be_read_or_changed(tmp_path: Path) -> None:
    canary = tmp_path / "canary.csv"
    canary.write_text(f"secret\n{CANARY}\n")
    codes = codes_of(tmp_path, [sql.format(canary=canary) for sql in REACHING_OUT])
    allowed = {"sql_forbidden", "table_not_found"}
    assert {sql: code for sql, code in codes.items() if code not in allowed} == {}


def test_anything_but_one_select_is_refused(tmp_path: Path) -> None:
    codes = codes_of(tmp_path, NOT_ONE_SELECT)
    assert {sql: code for sql, code in codes.items() if code != "sql_forbidden"} == {}


@pytest.mark.parametrize("sql", ENDLESS)
def test_an_endless_query_ends_at_its_deadline(tmp_path: Path, sql: str) -> None:
    assert code_of(tmp_path, sql, deadline_seconds=1) == "sql_timeout"


@pytest.mark.parametrize("sql", GREEDY)
def test_a_query_that_wants_all_memory_is_stopped(tmp_path: Path, sql: str) -> None:
    assert code_of(tmp_path, sql, deadline_seconds=3) in {"sql_resource_limit", "sql_timeout"}


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("selct 1", "sql_invalid"),
        ("select nothing from usage", "sql_invalid"),
        ("select no_such_function(1)", "sql_invalid"),
        ("select * from other_users_table", "table_not_found"),
        ("select " + "1," * 200_000 + "1", "sql_invalid"),
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(tmp_path: Path, sql: str, code: str) -> None:
    assert code_of(tmp_path, sql) == code


def test_paths_of_the_host_do_not_show(tmp_path: Path) -> None:
    sql = (
        "select string_agg(value, ' ') as s from duckdb_settings() union all "
        "select string_agg(path, ' ') from duckdb_databases()"
    )
    dataset = numbers(tmp_path / "data.duckdb")
    answer = run(tmp_path, lambda sandbox: ask(sandbox, dataset, sql))
    told = str(answer)
    assert "data.duckdb" not in told
    assert str(Path.home()) not in told


def test_a_plain_select_and_a_plain_explain_are_answered(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")
    answer = run(tmp_path, lambda s: ask(s, dataset, "select sum(n) as total from usage;"))
    assert (answer.columns, answer.rows, answer.truncated) == (("total",), ((3,),), False)
    assert run(tmp_path, lambda s: ask(s, dataset, "explain select n from usage")).rows


def test_values_of_every_kind_come_out_as_plain_ones(tmp_path: Path) -> None:
    sql = (
        "select 1::hugeint * 10^20::hugeint, 1.5::decimal(9, 2), 'nan'::double, "
        "timestamp '2024-01-02 03:04:05', timestamptz '2024-01-02 03:04:05+01', "
        "[1, 2], {'a': 1}, '\\xAB'::blob, null, true, date '2024-01-02'"
    )
    dataset = numbers(tmp_path / "data.duckdb")
    assert run(tmp_path, lambda s: ask(s, dataset, sql)).rows == (
        (
            1e20, 1.5, None, "2024-01-02T03:04:05Z", "2024-01-02T02:04:05Z", "[1, 2]",
            '{"a": 1}', "ab", None, True, "2024-01-02",
        ),
    )  # fmt: skip


def test_rows_and_cells_are_cut_and_say_so(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb", rows=1000)

    async def scenario(sandbox: Sandbox) -> tuple[Rows, Rows]:
        few = await sandbox.query(dataset, "from usage", {}, rows_max=10)
        wide = await sandbox.query(dataset, "select repeat('x', 100000) from usage", {})
        return few, wide

    few, wide = run(tmp_path, scenario)
    assert (len(few.rows), few.truncated) == (10, True)
    assert len(str(wide.rows[0][0])) < 5000


def test_parameters_are_values_and_never_sql(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")
    hostile = "'); drop table f0.usage; --"

    async def scenario(sandbox: Sandbox) -> Rows:
        return await sandbox.query(dataset, "select $x as x", {"x": hostile})

    assert run(tmp_path, scenario).rows == ((hostile,),)


def test_after_a_kill_the_next_query_gets_a_fresh_child(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")

    async def scenario(sandbox: Sandbox) -> Rows:
        with pytest.raises(DeadlineExceeded):
            await sandbox.query(dataset, ENDLESS[1], {}, deadline_seconds=0.5)
        return await ask(sandbox, dataset, "select count(*) from usage")

    assert run(tmp_path, scenario).rows == ((3,),)


def test_a_cancelled_caller_leaves_no_child_at_work(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")

    async def scenario(sandbox: Sandbox) -> int:
        await ask(sandbox, dataset, "select 1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask(sandbox, dataset, ENDLESS[1])
        return len(list((tmp_path / "sandbox").iterdir()))

    assert run(tmp_path, scenario) == 0
    assert no_children()


def test_many_queries_over_more_data_sets_than_children_all_get_their_own_rows(
    tmp_path: Path,
) -> None:
    datasets = [numbers(tmp_path / f"{n}.duckdb", rows=n) for n in range(1, 6)]

    async def scenario(sandbox: Sandbox) -> list[object]:
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(ask(sandbox, dataset, "select count(*) from usage"))
                for dataset in datasets * 2
            ]
        homes = len(list((tmp_path / "sandbox").iterdir()))
        return [homes, *(task.result().rows[0][0] for task in asked)]

    homes, *counts = run(tmp_path, scenario)
    assert counts == [1, 2, 3, 4, 5] * 2
    assert homes == SMALL.children_max
    assert no_children()


def test_closing_leaves_no_process_no_folder_and_no_open_file(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")
    run(tmp_path, lambda s: ask(s, dataset, "select 1"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run(tmp_path, lambda s: ask(s, dataset, "select 1"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not list((tmp_path / "sandbox").iterdir())
    assert no_children()


def test_what_a_killed_server_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan = tmp_path / "sandbox" / f"sandbox-{gone.pid}-x"
    orphan.mkdir(parents=True)
    (orphan / "f0.duckdb").write_bytes(b"")
    alive = tmp_path / "sandbox" / f"sandbox-{os.getpid()}-x"
    alive.mkdir()
    run(tmp_path, lambda sandbox: sandbox.close())
    assert list((tmp_path / "sandbox").iterdir()) == [alive]


def test_an_idle_child_is_ended(tmp_path: Path) -> None:
    dataset = numbers(tmp_path / "data.duckdb")

    async def scenario(sandbox: Sandbox) -> None:
        await ask(sandbox, dataset, "select 1")
        [seat] = sandbox._seats.values()
        assert seat.child is not None
        await seat.child._process.wait()
        assert not list((tmp_path / "sandbox").iterdir())

    run(tmp_path, scenario, replace(SMALL, idle_seconds=0.01))


def test_a_data_set_file_that_is_damaged_is_told_and_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "data.duckdb"
    dataset = numbers(path)
    path.write_bytes(b"x" * 4096 + path.read_bytes()[4096:])
    with pytest.raises(TidingsError) as refused:
        run(tmp_path, lambda sandbox: ask(sandbox, dataset, "from usage"))
    assert refused.value.code == "data_unreadable"


def test_files_with_different_columns_are_one_view(tmp_path: Path) -> None:
    import_like = {"a": "1 as n, 'x' as tag, 5 as mixed", "b": "2 as n, true as mixed"}
    paths = []
    for name, columns in import_like.items():
        path = tmp_path / f"{name}.duckdb"
        numbers(path)
        import_columns(path, columns)
        paths.append(path)
    dataset = Dataset("u_1", tuple(paths))
    answer = run(tmp_path, lambda s: ask(s, dataset, "select n, tag, mixed from usage order by n"))
    assert answer.rows == ((1, "x", "5"), (2, None, "true"))


def test_it_says_which_confinement_is_in_force(tmp_path: Path) -> None:
    told = run(tmp_path, lambda sandbox: sandbox.capabilities())
    assert told["resource_limits"]
    assert set(told) == {
        "network_namespace", "resource_limits", "landlock", "landlock_network",
    }  # fmt: skip


async def ask(sandbox: Sandbox, dataset: Dataset, sql: str) -> Rows:
    return await sandbox.query(dataset, sql, {})


def import_columns(path: Path, columns: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create or replace table usage as select {columns}")


def no_children() -> bool:
    """Return whether no worker of a sandbox is this process's child: test servers may be."""
    mine = f"/proc/{os.getpid()}/task"
    pids = " ".join(path.read_text() for path in Path(mine).glob("*/children")).split()
    return not any("tidings.analysis.sandbox.worker" in command(pid) for pid in pids)


def command(pid: str) -> str:
    """Return what a process was started with; nothing once it is dead."""
    try:
        return Path("/proc", pid, "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
