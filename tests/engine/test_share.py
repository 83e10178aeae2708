"""Runs that share a process: each has its own random numbers, and waits until measured memory suffices."""

import threading
from types import SimpleNamespace

import torch

from mmvae_bench.engine.share import MemoryGate, RandomState, _assigned, place
from mmvae_bench.engine.train import train
from mmvae_bench.spec import Missing, TrainSpec
from tests.engine.test_step import BATCH, feed, made

CPU = torch.device("cpu")


def run(name: str, seed: int, into: dict[str, torch.Tensor]) -> None:
    random = RandomState(CPU)
    with random():
        model, own = made(name), feed(Missing(0.5, "split"))
        torch.manual_seed(seed)
    train(model, own, TrainSpec(6, BATCH, 1e-2), random=random)
    into[name] = torch.cat([p.detach().flatten() for p in model.parameters()])


def test_other_runs_change_nothing():
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


def waiting(gate: MemoryGate) -> bool:
    """True if a run that starts now has to wait."""
    entered = threading.Event()
    go = threading.Event()

    def start() -> None:
        with gate.enter():
            entered.set()
            go.wait(5)

    thread = threading.Thread(target=start)
    thread.start()
    got_in = entered.wait(0.2)
    go.set()
    thread.join(5 if got_in else 0)
    return not got_in


def held(gate: MemoryGate) -> threading.Thread:
    """Another run, which does not start while one is running."""
    thread = threading.Thread(target=waiting, args=(gate,), daemon=True)
    thread.start()
    thread.join(0.4)
    assert gate._running == 1
    return thread


def test_the_first_run_starts_alone_and_others_follow_while_twice_its_memory_is_free():
    memory = SimpleNamespace(free=100)  # of which each run takes some in its first steps
    gate = MemoryGate(lambda: memory.free)
    with gate.enter() as started:
        assert gate._running == 1
        memory.free -= 30
        started()
        started()  # called after each epoch
        assert not waiting(gate)  # 70 >= 2 * 30
        memory.free -= 15
        held(gate)  # 55 < 60
        memory.free = 100
    assert gate._running <= 1


def test_while_a_run_starts_no_other_starts():
    gate = MemoryGate(lambda: 100)
    with gate.enter() as started:
        blocked = held(gate)
        started()
        blocked.join(5)
    assert gate._running == 0


def test_on_a_cpu_no_run_waits():
    with place("cpu") as at:
        at.started()
        assert at.device == CPU
        assert not at.out_of_memory()


def test_when_memory_runs_out_one_run_fewer_is_admitted_until_one_is_alone():
    gate = MemoryGate(lambda: 100)
    with gate.enter() as first:
        first()
        with gate.enter() as second:
            second()
            assert not waiting(gate)  # three would fit
            assert gate.out_of_memory()
        assert gate.limit == 1
        blocked = held(gate)
        assert not gate.out_of_memory()
    blocked.join(5)
    assert gate._running == 0


def test_runs_are_spread_over_gpus():
    gates = {0: MemoryGate(lambda: 100), 1: MemoryGate(lambda: 100)}
    with _assigned(gates) as (first, _), _assigned(gates) as (second, _), _assigned(gates) as (third, _):
        assert sorted([first, second]) == [0, 1]
        assert gates[third].assigned == 2
    assert gates[0].assigned == gates[1].assigned == 0
