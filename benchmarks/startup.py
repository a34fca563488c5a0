"""What does the course add to the time before a learner can start?

    python benchmarks/startup.py

Runs in turn, in fresh processes: importing torch, and importing diffusion_lessons (which imports
torch); then reads all 70,000 digits. Medians and the pairwise difference go to startup.json.
"""

import json
import statistics
import subprocess
import sys

from common import write

ROUNDS = 9
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
IMPORT = "from diffusion_lessons import digits"


def seconds(statement: str, before: str = "") -> float:
    """Seconds one statement takes in a fresh Python, after another that is not counted."""
    code = before + "\n" + TIMED.format(statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    seconds("import diffusion_lessons")  # warms the disk's cache
    torch, ours, digits = [], [], []
    for _ in range(ROUNDS):
        torch.append(seconds("import torch"))
        ours.append(seconds("import diffusion_lessons"))
        digits.append(seconds("digits(); digits(train=False)", IMPORT))
    added = [b - a for a, b in zip(torch, ours, strict=True)]
    result = {
        "command": "python benchmarks/startup.py",
        "rounds": ROUNDS,
        "import_torch_s": round(statistics.median(torch), 3),
        "import_diffusion_lessons_s": round(statistics.median(ours), 3),
        "added_s": round(statistics.median(added), 3),
        "read_all_digits_s": round(statistics.median(digits), 3),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main()
