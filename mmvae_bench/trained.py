"""A trained model in Python: load a stored run or fit your own arrays, then encode, generate, sample and save."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmvae_bench import models, nets
from mmvae_bench.datasets.base import Rows
from mmvae_bench.disk import disk_errors, given_path
from mmvae_bench.engine.device import choose
from mmvae_bench.engine.mode import choose_mode
from mmvae_bench.engine.train import Progress, train
from mmvae_bench.errors import BenchError, Unsupported, near_hint
from mmvae_bench.metrics.base import CHUNK, Latents, encode, generate
from mmvae_bench.metrics.oracle import to_device
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.options import Named, Scalar, parse_named
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Component, RunSpec, TrainSpec
from mmvae_bench.store.run import RunResult, StoredRun, write_files
from mmvae_bench.store.store import Store, tidy
from mmvae_bench.sweep.execute import build_model, ready
from mmvae_bench.sweep.plan import component
from mmvae_bench.types import Modality, MultimodalBatch

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
Values = Mapping[str, Any]  # for each modality an array or a tensor
PIXEL_SCALE = 0.75  # of p(x | z) of inferred pictures: that of the digit data sets
MOST_WORDS = 2**15  # ids are int16
OWN = "own"  # in place of a data set's name, for arrays of a user


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A trained model and where it comes from.

    In all methods ``x`` maps modalities to arrays or tensors [N, *shape]: pictures as uint8, or as floats in [0, 1];
    tables as floats; captions as word ids. A modality that ``x`` lacks is absent. ``mask`` maps modalities to Bool[N],
    False where a row lacks that modality; what the array holds there is not read. ``given`` names the modalities that
    are conditioned on; by default all of ``x``. Random draws depend on ``seed`` alone.

    Attributes:
        model: The network, in evaluation mode.
        spec: What was trained, and how.
        rows: The tidy rows of its scores; empty for a fitted model.
        epochs: Loss and its terms for each epoch.
    """

    model: MultimodalVAE
    spec: RunSpec
    rows: Sequence[Mapping[str, Any]] = ()
    epochs: Sequence[Mapping[str, float]] = ()

    def __repr__(self) -> str:
        return f"TrainedModel({self.spec.title})"

    @property
    def scores(self) -> "pd.DataFrame":
        """The scores of the run, a row each; no row for a fitted model."""
        return tidy(self.rows)

    @property
    def history(self) -> "pd.DataFrame":
        """Loss and its terms, a row for each epoch."""
        import pandas as pd

        return pd.DataFrame(self.epochs, dtype=float)

    def encode(
        self, x: Values, given: str | Sequence[str] | None = None, *, mask: Values | None = None, seed: int = 0
    ) -> Latents:
        """Return mean, standard deviation and one sample of q(z | x_A): ``.mean``, ``.sd``, ``.sample``, [N, D] each.

        A is what is given and present, row by row. Where q is a mixture, as in MoPoE, MMVAE, MMVM and MEME, mean and sd
        are the moments of the whole mixture, not of one component; the sample comes from a component drawn at random.

        Raises:
            BenchError: If ``x``, ``given`` or ``mask`` does not fit the model; says what would.
        """
        arrays, present = self._read(x, given, mask)
        return encode(self.model, self._batches(arrays, present, CHUNK), self._generator(seed))

    def generate(
        self, x: Values, given: str | Sequence[str] | None = None, targets: str | Sequence[str] | None = None,
        n: int = 1, *, mask: Values | None = None, seed: int = 0,
    ) -> dict[str, Array]:  # fmt: skip
        """Return E[x_t | z] for n draws z ~ q(z | x_A) of each row: target -> [n, N, *shape].

        Pictures have pixels in [0, 1]; captions are the likeliest word ids. Models whose modalities share one latent
        decode all targets from the same draws.

        Args:
            x: Entries, as in the class.
            given: Modalities to condition on. Default: all of ``x``.
            targets: Modalities to generate. Default: all.
            n: Number of draws.
            mask: Which entries there are, as in the class.
            seed: Seed of the draws.

        Raises:
            BenchError: If ``x``, ``given``, ``targets`` or ``mask`` does not fit the model; says what would.
        """
        names = self.model.names if targets is None else _chosen(targets, self.model.names)
        if n < 1:
            raise BenchError(f"The number of draws is at least 1, not {n}.")
        arrays, present = self._read(x, given, mask)
        size = max(1, CHUNK // n)
        return {
            name: generate(self.model, self._batches(arrays, present, size), name, self._generator(seed), n).numpy()
            for name in names
        }

    @torch.no_grad()
    def sample(self, n: int = 1, *, seed: int = 0) -> dict[str, Array]:
        """Return n draws of all modalities from the model's prior: modality -> [n, *shape].

        Raises:
            Undefined: If the model has no prior of its own; says why.
        """
        generator, parts = self._generator(seed), []
        for start in range(0, n, CHUNK):
            parts.append(self.model.sample_prior(min(CHUNK, n - start), generator))
        return {name: torch.cat([part[name].cpu() for part in parts]).numpy() for name in self.model.names}

    def save(self, folder: str | Path) -> Path:
        """Write the files of a stored run; :func:`load_run` reads the folder back.

        Raises:
            BenchError: If the folder cannot be written.
        """
        folder = given_path(folder)
        weights = {name: value.cpu().contiguous().numpy() for name, value in self.model.state_dict().items()}
        info = {"modalities": [asdict(modality) for modality in self.model.modalities]}
        rows, epochs = map(dict, self.rows), map(dict, self.epochs)
        with disk_errors(f"Cannot write to '{folder}'", "Choose another folder."):
            folder.mkdir(parents=True, exist_ok=True)
            write_files(folder, RunResult(self.spec, list(rows), list(epochs), info, weights))
        return folder

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(seed)

    def _read(
        self, x: Values, given: str | Sequence[str] | None, mask: Values | None
    ) -> tuple[dict[str, Array], NDArray[np.bool_]]:
        """The given entries as they are stored, and which of them are present, Bool[M, N]."""
        arrays = _arrays(x, self.model.names)
        shown = _shown(arrays, mask)
        names = list(arrays) if given is None else _chosen(given, self.model.names)
        if lacking := [name for name in names if name not in arrays]:
            raise BenchError(f"{_listed(lacking)} is given, but x has only {_listed(arrays)}.")
        nowhere = np.zeros_like(next(iter(shown.values())))
        present = np.stack([shown[name] if name in names else nowhere for name in self.model.names])
        if not (some := present.any(0)).all():
            raise BenchError(
                f"Rows without any of {_listed(names)}: {(~some).sum()}, the first is row {some.argmin()}. "
                "Leave them out."
            )
        kinds = {m.name: m for m in self.model.modalities}
        return {name: _stored(kinds[name], arrays[name], shown[name]) for name in names}, present

    def _batches(self, arrays: Mapping[str, Array], present: NDArray[np.bool_], size: int) -> Iterator[MultimodalBatch]:
        """All rows, ``size`` at a time, on the device; zeros stand for what is absent everywhere."""
        for start in range(0, present.shape[1], size):
            own = torch.tensor(present[:, start : start + size], device=self._device)
            x = {}
            for m in self.model.modalities:
                if m.name in arrays:
                    x[m.name] = to_device(arrays[m.name][start : start + size], self._device)
                else:
                    kind = torch.long if m.is_text else torch.float32
                    x[m.name] = torch.zeros(own.shape[1], *m.shape, dtype=kind, device=self._device)
            yield MultimodalBatch(x, own)


def load_run(run: str | Path, results_dir: str | Path = "results", device: str = "cpu") -> TrainedModel:
    """Load a trained model: of a stored run, or one that :meth:`TrainedModel.save` has written.

    Args:
        run: A folder, or the id of a run (column ``run_id`` of the scores; its first digits suffice).
        results_dir: Where runs are looked for by their id.
        device: ``cpu``, ``cuda``, ``cuda:<i>`` or ``auto``.

    Raises:
        BenchError: If there is no such run, or it cannot be used; says why.
    """
    folder = given_path(run)
    if not (folder / "run.json").is_file():
        found = [path for path in Store(given_path(results_dir)).folders() if run and path.name.startswith(str(run))]
        if len(found) != 1:
            what = f"{len(found)} runs have ids that start" if found else "There is no such folder, and no id starts"
            raise BenchError(f"{what} with '{run}' under '{results_dir}'; ids are the column run_id of the scores.")
        folder = found[0]
    stored = StoredRun.read(folder, named=False)
    if not stored.done:
        raise BenchError(f"The run in '{folder}' failed: {stored.error}. There is no model to load.")
    if "modalities" not in stored.record:
        raise BenchError(f"The run in '{folder}' was stored by an older version, without modalities. Train it again.")
    modalities = tuple(
        Modality(**{**m, "shape": tuple(m["shape"]), "vocabulary": tuple(m["vocabulary"])})
        for m in stored.record["modalities"]
    )
    model = _restored(stored.spec, modalities, stored.arrays("model.safetensors"), choose(device))
    return TrainedModel(model, stored.spec, stored.rows(), stored.history())


def _restored(
    spec: RunSpec, modalities: Sequence[Modality], weights: Mapping[str, Array], device: torch.device
) -> MultimodalVAE:
    """The model of a spec with stored weights."""
    version = getattr(models.registry.get(spec.model.name), "version", 1)
    if version != spec.model.version:
        raise BenchError(
            f"It was trained by version {spec.model.version} of '{spec.model.name}', and this is version {version}; "
            "train it again."
        )
    with _undisturbed(device):
        model = build_model(spec, modalities, device)
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    except RuntimeError as error:  # of a plug-in whose layers have changed
        raise BenchError(
            f"The weights do not fit '{spec.model.name}' as it is now ({error}); train it again."
        ) from error
    return model.eval()


# --- a user's own arrays ---------------------------------------------------------------------------------------------


def fit(
    x: Values, model: str = "mopoe", *, modalities: Sequence[Modality] | None = None, mask: Values | None = None,
    nets: str = "mlp", latent_dim: int = 16, epochs: int = 20, batch_size: int = 64, learning_rate: float = 1e-3,
    seed: int = 0, device: str = "cpu", threads: int = 1, progress: bool = True,
) -> TrainedModel:  # fmt: skip
    """Train a model on arrays of your own, by the same loop as every run of the benchmark.

    Args:
        x: For each modality an array or a tensor of N rows.
        model: Registered name, perhaps with options: ``mmvae[k=3]``.
        modalities: Descriptions of the modalities. By default uint8 [N, C, H, W] are pictures with a Laplace likelihood
            of scale 0.75, floats [N, ...] have a Normal likelihood of scale 1 (standardise them first), and integers
            [N, T] are word ids, of which 0 is padding.
        mask: For each modality Bool[N], False where a row lacks it; what ``x`` holds there is not read.
        nets: Networks, such as ``mlp[hidden=400]`` or ``conv``.
        latent_dim: Size of the latent space.
        epochs: Number of passes over the rows.
        batch_size: Number of rows in each step.
        learning_rate: Learning rate of Adam.
        seed: Seed of all random draws.
        device: ``cpu``, ``cuda``, ``cuda:<i>`` or ``auto``.
        threads: Number of CPU threads in training; one is best for small networks.
        progress: Show a progress bar.

    Raises:
        BenchError: If an argument cannot be meant; says what would.
        TrainingFailed: If the loss is not finite.
    """
    own, arrays, present = _own_data(x, modalities, mask)
    chosen, train_spec = choose(device), TrainSpec(epochs, batch_size, learning_rate)
    presence = Presence.of_mask(present, tuple(m.name for m in own), OWN, seed)
    spec = _own_spec(own, parse_named(model), nets, latent_dim, train_spec, presence, seed)
    with _undisturbed(chosen, threads), _bar(spec, progress) as report:
        try:
            net, feed = ready(spec, own, Rows(arrays), presence, chosen)
        except Unsupported as reason:
            raise BenchError(f"'{nets}' cannot take these modalities: {reason}.") from reason
        history = train(net, feed, train_spec, report, mode=choose_mode(chosen)[0])
    return TrainedModel(net.eval(), spec, epochs=history.epochs)


def _own_data(
    x: Values, modalities: Sequence[Modality] | None, mask: Values | None
) -> tuple[tuple[Modality, ...], dict[str, Array], NDArray[np.bool_]]:
    """The modalities, their entries as they are stored, and which of them there are, Bool[M, N]."""
    arrays = _arrays(x, None if modalities is None else [m.name for m in modalities])
    shown = _shown(arrays, mask)
    own = tuple(modalities or (_inferred(name, array, shown[name]) for name, array in arrays.items()))
    if len(own) < 2:
        raise BenchError(f"A multimodal model needs at least two modalities, not {len(own)}.")
    for m in own:
        if m.name not in arrays or not shown[m.name].any():
            raise BenchError(f"No row has an entry of '{m.name}'; leave the modality out.")
        if not re.fullmatch(r"[A-Za-z]\w*", m.name):
            raise BenchError(f"The name of a modality is a word of letters, digits and '_', not '{m.name}'.")
        if m.is_text and not 0 < len(m.vocabulary) <= MOST_WORDS:
            raise BenchError(f"'{m.name}' needs a vocabulary of 1 to {MOST_WORDS:,} words, not {len(m.vocabulary):,}.")
    return own, {m.name: _stored(m, arrays[m.name], shown[m.name]) for m in own}, np.stack([shown[m.name] for m in own])


def _inferred(name: str, array: Array, shown: NDArray[np.bool_]) -> Modality:
    """What an array probably is."""
    kind, shape = array.dtype.kind, array.shape[1:]
    if array.dtype == np.uint8 and array.ndim == 4:
        return Modality(name, shape, "laplace", PIXEL_SCALE)
    if kind == "f" and array.ndim > 1:
        return Modality(name, shape, "normal", dtype="float32")
    if kind in "iu" and array.dtype != np.uint8 and array.ndim == 2 and shown.any():
        words = (str(number) for number in range(1, int(array[shown].max()) + 1))
        return Modality(name, shape, "categorical", dtype="int16", vocabulary=("<pad>", *words))
    raise BenchError(
        f"'{name}' is {array.dtype} of shape {array.shape}, which may be many things; pass pictures as uint8 "
        "[N, C, H, W], tables as floats [N, D] and word ids as integers [N, T], or modalities=[Modality(...), ...]."
    )


def _own_spec(
    own: Sequence[Modality], model: Named, nets_text: str, latent_dim: int, budget: TrainSpec, presence: Presence,
    seed: int,
) -> RunSpec:  # fmt: skip
    """The spec of a training on a user's arrays.

    Raises:
        BenchError: If a name is unknown, or if the model does not take these modalities or these holes.
    """
    factory, preset = models.registry.get(model.name), parse_named(nets_text)
    if latent_dim < 1:
        raise BenchError(f"latent_dim is at least 1, not {latent_dim}.")
    if reason := factory.unsupported(own, presence.missing):
        raise BenchError(f"'{model.label}' cannot take these data: {reason}.")
    likelihoods: dict[str, dict[str, Scalar]] = {
        m.name: {"likelihood": m.likelihood, "scale": m.scale, "weight": m.weight} for m in own
    }
    return RunSpec(
        Component(OWN, 1, {}, "own data"), component(model, factory), component(preset, nets.registry.get(preset.name)),
        latent_dim, likelihoods, budget, presence.missing, seed,
    )  # fmt: skip


@contextmanager
def _bar(spec: RunSpec, shown: bool) -> Iterator[Callable[[Progress], None]]:
    """A progress bar of the epochs; gives what is to be called after each."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console()
    if console.is_jupyter and not find_spec("ipywidgets"):  # without them rich cannot draw there, and warns
        console = Console(force_jupyter=False, force_terminal=False)
    with Bar(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task(spec.model.label, total=spec.train.epochs)
        yield lambda at: bar.update(task, completed=at.epoch, description=f"{spec.model.label}, loss {at.loss:.2f}")


@contextmanager
def _undisturbed(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Leave PyTorch's default generators and number of threads as they were: they belong to the user's process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before)


# --- checks of what a user passes ------------------------------------------------------------------------------------


def _chosen(names: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """One or several names of modalities, each of which is known."""
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in known:
            raise BenchError(f"No modality '{name}'; {near_hint(str(name), known)}Known: {', '.join(known)}.")
    if not chosen:
        raise BenchError(f"Name at least one modality of {', '.join(known)}.")
    return chosen


def _arrays(x: Any, known: Sequence[str] | None) -> dict[str, Array]:
    """What was passed as arrays of the same number of rows."""
    if not isinstance(x, Mapping) or not x:
        raise BenchError("x is a dict: for each modality an array of N rows.")
    _chosen(list(x), list(x) if known is None else known)
    arrays = {name: np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v) for name, v in x.items()}
    sizes = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(sizes.values())) > 1 or not all(sizes.values()):
        counts = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise BenchError(f"All modalities need the same number of rows, at least one: {counts}.")
    return arrays


def _shown(arrays: Mapping[str, Array], mask: Values | None) -> dict[str, NDArray[np.bool_]]:
    """For each modality which rows have it, Bool[N]."""
    rows = len(next(iter(arrays.values())))
    masks = {} if mask is None else _arrays(mask, list(arrays))
    for name, own in masks.items():
        if own.dtype != bool or own.shape != (rows,):
            raise BenchError(f"The mask of '{name}' is Bool[{rows}], not {own.dtype} of shape {own.shape}.")
    return {name: masks.get(name, np.ones(rows, dtype=bool)) for name in arrays}


def _stored(m: Modality, array: Array, shown: NDArray[np.bool_]) -> Array:
    """Entries in a type that the engine takes: bytes, floats or word ids. What is not shown may be anything."""
    if array.shape[1:] != m.shape:
        needed = ", ".join(map(str, ("N", *m.shape)))
        raise BenchError(f"'{m.name}' has shape {array.shape}, and [{needed}] is needed.")
    seen = array[shown]
    if m.is_text:
        if array.dtype.kind not in "iu":
            raise BenchError(f"'{m.name}' are word ids: whole numbers, not {array.dtype}.")
        if seen.size and not 0 <= seen.min() <= seen.max() < len(m.vocabulary):
            raise BenchError(
                f"Word ids of '{m.name}' lie in 0..{len(m.vocabulary) - 1}, not in {seen.min()}..{seen.max()}."
            )
        return array.astype(np.int16)
    if array.dtype.kind not in "fiub":
        raise BenchError(f"'{m.name}' are numbers, not {array.dtype}.")
    if m.dtype == "uint8" and array.dtype == np.uint8:
        return array
    if not np.isfinite(seen).all():
        raise BenchError(
            f"'{m.name}' has NaN or infinite values in rows that are present; leave those rows out, or mask them."
        )
    if m.dtype == "uint8" and seen.size and not 0 <= seen.min() <= seen.max() <= 1:
        raise BenchError(
            f"Pixels of '{m.name}' are uint8, or floats in [0, 1], not {array.dtype} in {seen.min()}..{seen.max()}."
        )
    return array.astype(np.float32)


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)
