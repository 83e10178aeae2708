"""What the terminal says of runs under way, and how long they will take."""

from mmvae_bench.store.work import UnderWay
from mmvae_bench.sweep.progress import Board


def note(root, name: str, epoch: int, command: str = "ours") -> None:
    under_way = UnderWay(root, name)
    under_way.folder.mkdir(parents=True, exist_ok=True)
    under_way._noted = -1e9
    under_way.note(command=command, title=f"run {name}", epoch=epoch, epochs=10, loss=1.25)


def test_only_runs_of_this_command_that_are_not_done_are_shown(tmp_path):
    board = Board({"a": 1.0, "b": 1.0, "c": 1.0}, tmp_path, "ours")
    note(tmp_path, "a", 3)
    note(tmp_path, "b", 3, command="another's, or of one that was killed")
    note(tmp_path, "c", 3)
    note(tmp_path, "d", 3)
    board.finish("c", "done")
    (tmp_path / "work" / "broken").mkdir()
    assert list(board._notes()) == ["a"]


def test_the_time_left_counts_from_when_work_was_first_seen(tmp_path, monkeypatch):
    """Neither imports before it, nor the epochs that a resumed run brings along."""
    now = [100.0]
    board = Board({"a": 1.0, "b": 1.0}, tmp_path, "ours")
    monkeypatch.setattr(board._bars, "get_time", lambda: now[0])

    def summary() -> str:
        board._show(board._notes())
        return board._summary()

    assert summary() == "0 of 2 runs done"
    now[0] = 160.0
    note(tmp_path, "a", 5)
    assert summary() == "0 of 2 runs done"
    now[0] = 170.0
    note(tmp_path, "a", 6)
    assert summary() == "0 of 2 runs done, 0:02:20 left"  # 10 s a tenth, 14 tenths left
    board.finish("a", "done")
    now[0] = 210.0
    assert summary() == "1 of 2 runs done, 0:01:40 left"
