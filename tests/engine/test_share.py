"""Runs that share a process: each has its own random numbers, and waits for room that was measured."""

import threading

import torch

from mmvae_bench.engine.share import Room, Turn, _sent, place
from mmvae_bench.engine.train import train
from mmvae_bench.spec import Missing, TrainSpec
from tests.engine.test_step import BATCH, feed, made

CPU = torch.device("cpu")


def run(name: str, seed: int, into: dict[str, torch.Tensor]) -> None:
    turn = Turn(CPU)
    with turn():
        model, own = made(name), feed(Missing(0.5, "split"))
        torch.manual_seed(seed)
    train(model, own, TrainSpec(6, BATCH, 1e-2), turn=turn)
    into[name] = torch.cat([p.detach().flatten() for p in model.parameters()])


def test_neighbours_change_nothing():
    alone: dict[str, torch.Tensor] = {}
    together: dict[str, torch.Tensor] = {}
    names = ["mopoe", "mvae", "meme"]
    for name in names:
        run(name, 5, alone)
    threads = [threading.Thread(target=run, args=(name, 5, together)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert torch.equal(alone[name], together[name]), name


class Memory:
    """A device of 100 units, of which each run takes some when it starts to work."""

    def __init__(self) -> None:
        self.free = 100


def waiting(room: Room) -> bool:
    """Whether a run that comes now would have to wait."""
    entered = threading.Event()
    go = threading.Event()

    def come() -> None:
        with room.enter():
            entered.set()
            go.wait(5)

    thread = threading.Thread(target=come)
    thread.start()
    got_in = entered.wait(0.2)
    go.set()
    thread.join(5 if got_in else 0)
    return not got_in


def test_the_first_run_starts_alone_and_others_follow_while_twice_its_appetite_is_free():
    memory = Memory()
    room = Room(lambda: memory.free)
    with room.enter() as settled:
        assert room._running == 1
        memory.free -= 30
        settled()
        settled()  # said again after each epoch
        assert not waiting(room)  # 70 >= 2 * 30
        memory.free -= 15
        held = threading.Thread(target=lambda: waiting(room))
        held.start()
        held.join(1)
        assert room._running == 1  # 55 < 60: nobody came in
        memory.free = 100
    assert room._running <= 1


def test_while_a_run_is_at_the_door_nobody_else_comes_in():
    room = Room(lambda: 100)
    with room.enter() as settled:
        blocked = threading.Thread(target=lambda: waiting(room), daemon=True)
        blocked.start()
        blocked.join(0.4)
        assert room._running == 1
        settled()
        blocked.join(5)
    assert room._running == 0


def test_on_a_cpu_there_is_always_room():
    with place("cpu") as at:
        at.settled()
        assert at.device == CPU
        assert not at.crowded()


def test_when_memory_runs_out_one_run_fewer_is_let_in_until_one_is_alone():
    room = Room(lambda: 100)
    with room.enter() as first:
        first()
        with room.enter() as second:
            second()
            assert not waiting(room)  # three would fit
            assert room.crowded()
        assert room.limit == 1
        blocked = threading.Thread(target=lambda: waiting(room), daemon=True)
        blocked.start()
        blocked.join(0.4)
        assert room._running == 1
        assert not room.crowded()
    blocked.join(5)
    assert room._running == 0


def test_runs_are_spread_over_gpus():
    rooms = {0: Room(lambda: 100), 1: Room(lambda: 100)}
    with _sent(rooms) as (first, _), _sent(rooms) as (second, _), _sent(rooms) as (third, _):
        assert sorted([first, second]) == [0, 1]
        assert rooms[third].sent == 2
    assert rooms[0].sent == rooms[1].sent == 0
