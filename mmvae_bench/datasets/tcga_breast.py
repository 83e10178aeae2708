"""Three omics of breast cancers (TCGA), from the file ``breast.TCGA.rda`` of the R package mixOmics."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmvae_bench.datasets.base import Built, Dataset, Protocol, Rows
from mmvae_bench.datasets.download import UNVERIFIED, disk_errors
from mmvae_bench.datasets.tables import split_by_class, standardised
from mmvae_bench.disk import replace_file
from mmvae_bench.errors import DataError, in_a_line

if TYPE_CHECKING:
    from mmvae_bench.types import Modality

FILE = "breast.TCGA.rda"
COLUMNS = {"mirna": 184, "mrna": 200, "protein": 142}
PATIENTS = {"data.train": 150, "data.test": 70}  # the parts of the file, and their rows
CLASSES = ("Basal", "Her2", "LumA")
TEST_SHARE = 0.3
Part = tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]  # modality -> [N, D], and classes [N]


@dataclass(frozen=True, kw_only=True)
class TcgaBreast(Dataset):
    """220 breast cancers of three subtypes (Singh et al. 2019, DIABLO): expression of RNA, and abundance of proteins.

    No protein was measured of 70 of the patients, and test rows are complete. With three omics the 150 other patients
    are split, stratified by class and fixed by a seed: 105 training and 45 test rows. With two, all rows are complete,
    and the split is the authors': their test rows are the 70 patients. Columns are standardised by the training rows.
    """

    summary = "breast cancers in two or three omics (TCGA, from mixOmics, GPL); your own file"
    classes = CLASSES

    omics: Literal[2, 3] = 3  # 3: mirna, mrna and protein of 150 patients; 2: mirna and mrna of all 220

    @property
    def modalities(self) -> Sequence["Modality"]:
        """``mirna`` [184], ``mrna`` [200], and ``protein`` [142]."""
        from mmvae_bench.types import Modality

        chosen = list(COLUMNS.items())[: self.omics]
        return tuple(Modality(name, (columns,), "normal", dtype="float32") for name, columns in chosen)

    @property
    def protocol(self) -> Protocol:
        """The settings of digits_views with smaller batches: too few validation rows are here to choose by."""
        return Protocol(
            nets="tabular", latent_dim=16, epochs=100, batch_size=16, learning_rate=1e-3, rows=100, cost=0.8
        )

    def sources(self, data_dir: Path) -> list[Path]:
        """Return the file."""
        path = data_dir / FILE
        if not path.is_file():
            raise _absent(data_dir)
        return [path]

    def fetch(self, data_dir: Path) -> None:
        """Say where the file is: it has a licence of its own, and no published checksum."""
        raise _absent(data_dir)

    def take(self, files: Sequence[Path], data_dir: Path) -> None:
        """Copy the user's file into ``data_dir``, if it has the layout of the official one."""
        for file in files:
            read(file)
            with disk_errors(file):
                data_dir.mkdir(parents=True, exist_ok=True)
                replace_file(data_dir / FILE, file.read_bytes())

    def build(self, data_dir: Path) -> Built:
        """Split and standardise."""
        (tables, label), (late, late_label) = read(data_dir / FILE)
        if self.omics == 2:
            x = {m.name: standardised(tables[m.name], late[m.name]) for m in self.modalities}
            known, unknown, patients = label, late_label, "220 patients"
        else:
            train, test = split_by_class(label, TEST_SHARE, "tcga_breast")
            x = {name: standardised(table[train], table[test]) for name, table in tables.items()}
            known, unknown, patients = label[train], label[test], "150 of 220 patients"
        first, second = ({name: parts[i] for name, parts in x.items()} for i in (0, 1))
        return Built(Rows(first, known), Rows(second, unknown), f"{patients}, {UNVERIFIED}")


def _absent(data_dir: Path) -> DataError:
    return DataError(
        f"tcga_breast needs {data_dir / FILE}. Get data/{FILE} of the R package mixOmics (its repository is "
        f"mixOmicsTeam/mixOmics on GitHub), and run mmvae-bench data fetch tcga_breast --from {FILE} "
        f"--data-dir {data_dir}."
    )


def read(path: Path) -> tuple[Part, Part]:
    """Return the 150 patients with all omics, and the 70 without ``protein``.

    Raises:
        DataError: If rdata is not installed, or the file does not have the official layout.
    """
    try:
        from rdata import read_rda
    except ModuleNotFoundError as error:
        raise DataError("tcga_breast needs the extra 'omics': pip install 'mmvae-bench[omics]'.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are tried in vain
            content = read_rda(path)["breast.TCGA"]
        train, test = (_part(content[part], part) for part in PATIENTS)
    except Exception as error:  # readers raise many exceptions on damaged files
        raise DataError(
            f"{path} is damaged or not {FILE} of mixOmics ({in_a_line(error)}). Get that file again and run "
            f"mmvae-bench data fetch tcga_breast --from {FILE}."
        ) from error
    return train, test


def _part(content: Mapping[str, Any], part: str) -> Part:
    """Return tables and classes of a part; the second part of the file has no ``protein``."""
    names = [name for name in COLUMNS if part == "data.train" or name != "protein"]
    tables = {name: np.asarray(content[name], np.float64) for name in names}
    subtypes = [str(subtype) for subtype in content["subtype"]]
    if unknown := set(subtypes).difference(CLASSES):
        raise ValueError(f"{part} has the subtypes {', '.join(sorted(unknown))}, not only {', '.join(CLASSES)}")
    label = np.array([CLASSES.index(subtype) for subtype in subtypes], np.int64)
    for name, x in tables.items():
        if x.shape != (shape := (PATIENTS[part], COLUMNS[name])) or len(label) != len(x):
            raise ValueError(f"{name} of {part} has shape {x.shape} and {len(label)} subtypes, not {shape}")
    return tables, label
