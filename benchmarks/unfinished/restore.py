"""Put empty files of the recorded sizes in the places of weights that an archive of runs leaves out."""

import json
import sys
from pathlib import Path


def main(root: Path) -> None:
    """Complete all runs below a results folder."""
    for record in root.glob("runs/*/*/*/run.json"):
        for name, facts in json.loads(record.read_bytes())["files"].items():
            path = record.parent / name
            if not path.exists():
                with path.open("wb") as file:
                    file.truncate(facts["size"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
