"""Steps on sampled blocks in another checkout and in this one, in turn, on the same machine.

    git worktree add ../before COMMIT
    python benchmarks/sampled_pair.py ../before [--edges 10000000] [--work lightgcn cross freedom]
        [--threads 2] [--threads-before N] [--rounds 5] [--steps 4] [--out FILE]

Each side is a process of its own that imports the package of its checkout, with the environment
that the command of that checkout gives itself, and makes the work of `benchmarks/sampled.py`. The
two take `--steps` steps in turn, `--rounds` times after a first one; the other side waits
meanwhile, and the first steps of a turn are not timed. Ratios are medians of the rounds'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

HERE = Path(__file__).resolve().parents[1]
DRAWN_AHEAD = 3
"""Steps that are not timed: at most so many batches are drawn ahead of the first that is."""


class Round(TypedDict):
    """What a side says after some steps, a step, and its peak so far."""

    clock: float
    processor: float
    peak_mib: float


@dataclass(frozen=True)
class Pair:
    """A piece of work on both sides; seconds are of a step, medians over the rounds."""

    work: str
    edges: int
    before: float
    after: float
    ratio: float
    ratio_processor: float
    per_second_before: float
    per_second: float
    peak_mib_before: float
    peak_mib: float
    limit_per_second: float
    limit: str

    def line(self) -> str:
        """One printed line."""
        return (
            f"{self.work:10s} {self.edges:.0e} edges {self.per_second_before:8.0f} -> "
            f"{self.per_second:8.0f} interactions/s  {self.ratio:4.2f} x by the clock  "
            f"{self.ratio_processor:4.2f} x by the processor  peak {self.peak_mib_before:.0f} -> "
            f"{self.peak_mib:.0f} MiB  limit {self.limit_per_second:.0f} ({self.limit})"
        )


class Side:
    """A checkout's process; `take` has it take some steps."""

    def __init__(self, checkout: Path, work: str, threads: int, edges: int, batch: int) -> None:
        arguments = ["--worker", work, str(checkout), str(threads), str(edges), str(batch)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: dict[str, Any] = self._read()

    def take(self, steps: int) -> Round:
        """Seconds of a step."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        answer: Round = self._read()
        return answer

    def end(self) -> None:
        """Have it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early, with exit code {self.process.wait()}")
        return json.loads(line)


def work_when_told(work: str, checkout: str, threads: str, edges: str, batch: str) -> None:
    """Make the work in the package of `checkout`; take as many steps as each line asks for."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "crossalign").symlink_to(checkout)
        sys.path[:1] = [str(Path(checkout, "benchmarks")), folder]
        from crossalign import cli

        getattr(cli, "prepare_memory", lambda: None)()
        import sampled
        import torch

        from crossalign.training import TrainingOptions
        from crossalign.training.optimizer import make_optimizer
        from crossalign.training.state import StepLog

        torch.set_num_threads(int(threads))
        data, fanout = sampled.generated(int(edges)), (10, 5)
        options = TrainingOptions(
            batch_size=int(batch), sampling="blocks", fanout=fanout, lazy_embeddings=True
        )
        who = sampled.trained(work, data, len(fanout), Path(folder))
        parameters = [p for module in who[:2] if module is not None for p in module.parameters()]
        blocks = sampled.SampledBlocks(who, data, options, 0)
        losses = blocks.losses(1, torch.Generator().manual_seed(0))
        optimizer, log = make_optimizer(parameters, options), StepLog()

        def step() -> None:
            total = next(losses).total()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            log.add({"loss": total})

        cost = sampled.cost_of_step(blocks, int(batch), True)
        least, reason = sampled.Machine.measure().limit(cost)
        sampled.RESET_PEAK.write_text("5")
        step()
        print(json.dumps({"limit": least, "reason": reason}), flush=True)
        for line in sys.stdin:
            for _ in range(DRAWN_AHEAD):  # drawn while the other side took its steps
                step()
            clock, processor, n = time.perf_counter(), time.process_time(), int(line)
            for _ in range(n):
                step()
            answer = Round(
                clock=(time.perf_counter() - clock) / n,
                processor=(time.process_time() - processor) / n,
                peak_mib=sampled.resident_kib("VmHWM") / 1024,
            )
            print(json.dumps(answer), flush=True)


def measure(work: str, options: argparse.Namespace) -> Pair:
    """Rounds of both sides in turn."""
    threads = (options.threads_before or options.threads, options.threads)
    sides = [
        Side(checkout, work, n, options.edges, options.batch)
        for checkout, n in zip((options.before.resolve(), HERE), threads, strict=True)
    ]
    for side in sides:
        side.take(1)
    rounds = [[side.take(options.steps) for side in sides] for _ in range(options.rounds)]
    for side in sides:
        side.end()
    before, after = zip(*rounds, strict=True)
    clock = [statistics.median(one["clock"] for one in side) for side in (before, after)]
    return Pair(
        work,
        options.edges,
        clock[0],
        clock[1],
        statistics.median(slow["clock"] / fast["clock"] for slow, fast in rounds),
        statistics.median(slow["processor"] / fast["processor"] for slow, fast in rounds),
        options.batch / clock[0],
        options.batch / clock[1],
        before[-1]["peak_mib"],
        after[-1]["peak_mib"],
        options.batch / sides[1].said["limit"],
        sides[1].said["reason"],
    )


def main() -> None:
    """Parse, run, print, write."""
    if sys.argv[1:2] == ["--worker"]:
        return work_when_told(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="a checkout of what is compared with")
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--work", nargs="+", default=["lightgcn", "cross", "freedom"])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--threads-before", type=int, help="other than `--threads`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/sampled_pair.json"))
    options = parser.parse_args()
    rows = []
    for work in options.work:
        rows.append(measure(work, options))
        print(rows[-1].line(), flush=True)
    about = {name: str(value) for name, value in vars(options).items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
