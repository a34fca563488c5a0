"""How long do precision, recall, density and coverage take, and how much memory?

    python benchmarks/metrics.py

10,000 against 10,000 rows of 64 normal features, each in a process of its own: ours, and the PyPI
package prdc, which computes the same four figures. Seconds and the process's peak memory beyond
the imports go to metrics.json; the aim is 20 s and 2 GB.
"""

import json
import subprocess
import sys

from common import write

CODE = """
import json, resource, time, torch
{imports}
g = torch.Generator().manual_seed(0)
real, fake = torch.randn(2, 10_000, 64, generator=g)
fake = 0.9 * fake + 0.1
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
before, start = memory(), time.perf_counter()
found = {call}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": round(seconds, 2), "peak_gb": round(memory() - before, 2),
                   "found": {{k: round(float(v), 6) for k, v in found.items()}}}}))
"""
OURS = {
    "imports": "from diffusion_lessons import density_coverage, precision_recall",
    "call": "precision_recall(real, fake, 5)._asdict() | density_coverage(real, fake, 5)._asdict()",
}
PRDC = {
    "imports": "from prdc import compute_prdc",
    "call": "compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)",
}


def run(words: dict[str, str]) -> dict[str, object]:
    """One measurement in a fresh Python."""
    command = [sys.executable, "-c", CODE.format(**words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    last: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return last


def main() -> None:
    result = {
        "command": "python benchmarks/metrics.py",
        "diffusion_lessons": run(OURS),
        "prdc": run(PRDC),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main()
