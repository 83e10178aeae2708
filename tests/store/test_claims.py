"""Whose a run is: taken once, kept by a counter, stolen once, never by a clock of another machine."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mmvae_bench.disk import nonce
from mmvae_bench.store import claims as module
from mmvae_bench.store.claims import EXPIRY, Claims, Holder, Watch


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path)


def elsewhere(claims: Claims, run_id: str = "r") -> Holder:
    """A claim of a process on another machine: nobody here can tell whether it lives."""
    claim = claims.take(run_id)
    holder = replace(claim.holder, host="far", born="another boot and start")
    module._write(claim.path, holder, 0)
    return holder


def test_a_run_is_taken_once_and_again_when_it_was_released(claims):
    first = claims.take("r", "command")
    assert claims.take("r") is None
    assert claims.take("other") is not None
    holder = claims.holder("r")
    assert (holder.pid, holder.runner, holder.beat) == (os.getpid(), "command", 0)
    assert first.held()
    first.release()
    assert claims.holder("r") is None
    assert claims.take("r").held()


def test_a_context_renews_its_claim_and_releases_it(claims, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.01)
    with claims.take("r") as claim:
        watch = Watch(claims)
        seen = {watch.claims.holder("r").beat for _ in range(2000)}
        assert len(seen) > 2
        assert claim.held()
    assert list(claims.root.iterdir()) == []


def eight_try(claims: Claims, **how) -> list[module.Claim]:
    """Threads that take a run at the same moment; the claims that they got."""
    line, got = threading.Barrier(8), []

    def attempt() -> None:
        line.wait()
        if claim := claims.take("r", **how):
            got.append(claim)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_of_many_who_try_one_gets_it(claims):
    claims.root.mkdir()
    assert len(eight_try(claims)) == 1
    assert [path.name for path in claims.root.iterdir()] == ["r"]


def test_of_many_thieves_one_succeeds_and_its_victim_knows(claims):
    victim = claims.take("r")
    (thief,) = eight_try(claims, expired=claims.holder("r"))
    assert thief.held() and not victim.held()
    assert thief.before.nonce == victim.holder.nonce
    victim.beat()
    victim.release()
    assert victim.lost
    assert claims.holder("r").nonce == thief.holder.nonce
    assert claims.holder("r").beat == 1  # its own, not the victim's


def test_only_the_claim_that_was_watched_is_stolen(claims):
    """Between a look and the theft another may have stolen it: that claim is alive."""
    watched = elsewhere(claims)
    living = claims.take("r", expired=watched)
    assert claims.take("r", expired=watched) is None
    assert living.held()


def test_a_process_that_died_here_is_known_at_once(claims, tmp_path):
    code = (
        "from pathlib import Path; from mmvae_bench.store.claims import Claims; "
        f"Claims(Path({str(tmp_path)!r})).take('r')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert claims.holder("r").gone
    assert claims.take("r").before.gone


def test_a_living_process_is_not_gone_nor_one_of_another_machine_or_of_an_unknown_one(claims):
    claims.take("r")
    living = claims.holder("r")
    assert not living.gone
    assert not replace(living, born="").gone
    assert not replace(living, born="other boot 1", pid=2**22 + 1).gone
    assert replace(living, pid=2**22 + 1).gone  # no such process
    assert replace(living, pid=1).gone  # the number is another's by now
    assert elsewhere(claims, "s").gone is False


def silence(watch: Watch, now: list[float], seconds: float) -> tuple[Holder | None, bool]:
    """Look once a second."""
    for _ in range(round(seconds)):
        now[0] += 1
        found = watch.look("r")
    return found


def test_a_claim_expires_by_the_clock_of_who_looks_and_only_if_its_counter_stands_still(claims):
    holder, now = elsewhere(claims), [1000.0]
    watch = Watch(claims, lambda: now[0])
    path = claims.root / "r" / f"{holder.nonce}.json"
    os.utime(path, (1, 1))  # whatever its machine believes the time to be
    assert watch.look("r") == (holder, False)
    assert silence(watch, now, EXPIRY - 1) == (holder, False)
    module._write(path, holder, 0, 1)  # it lives
    assert not watch.look("r")[1]
    assert not silence(watch, now, EXPIRY - 1)[1]
    found, over = silence(watch, now, 1)
    assert over
    assert claims.take("r", expired=found).held()
    assert not watch.look("r")[1]  # another's now


def test_while_nobody_could_look_nothing_expires(claims):
    """A file system that was away, a laptop that slept: the holder could not write either."""
    now = [0.0]
    elsewhere(claims)
    watch = Watch(claims, lambda: now[0])
    watch.look("r")
    now[0] += 10 * EXPIRY
    assert not watch.look("r")[1]


def test_a_holder_that_renewed_its_claim_since_it_was_given_up_keeps_it(claims):
    holder = elsewhere(claims)
    module._write(claims.root / "r" / f"{holder.nonce}.json", holder, 0, 7)
    assert claims.take("r", expired=holder) is None


def test_a_stray_file_does_not_keep_a_run_for_ever(claims):
    (claims.root / "r").mkdir(parents=True)
    (claims.root / "r" / ".nfs0001").touch()
    (claims.root / "s").write_text("")
    for run in "rs":
        assert claims.holder(run) is None
        assert claims.take(run) is None
        assert claims.take(run).held()


def test_what_is_nobodys_is_free(claims):
    assert Watch(claims).look("r") == (None, True)
    (claims.root / "r").mkdir(parents=True)  # of one who was killed while releasing
    assert claims.take("r").held()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"x": 1}', "\x00" * 400])
def test_a_claim_that_is_being_written_is_somebodys(text, claims):
    folder = claims.root / "r"
    folder.mkdir(parents=True)
    (folder / f"{nonce()}.json").write_text(text)
    assert claims.holder("r").beat == -1
    assert not claims.holder("r").gone
    assert claims.take("r") is None


def test_a_counter_is_overwritten_in_place_and_never_comes_back_under_an_old_name(claims):
    claim = claims.take("r")
    size = claim.path.stat().st_size
    for _ in range(12):
        claim.beat()
    assert claim.path.stat().st_size == size
    assert json.loads(claim.path.read_text())["beat"] == 12
    claim.path.rename(claim.path.with_name("thief.json"))
    claim.beat()
    assert claim.lost
    assert [path.name for path in claim.path.parent.iterdir()] == ["thief.json"]


def test_a_results_folder_that_is_gone_does_not_come_back(tmp_path):
    with pytest.raises(FileNotFoundError):
        Claims(tmp_path / "gone").take("r")
    assert not (tmp_path / "gone").exists()
