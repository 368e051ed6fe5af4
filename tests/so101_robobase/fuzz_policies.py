"""Opens damaged and hostile files one after the other, with little memory; a line for each.

    python fuzz_policies.py <what> <seed> <count> <folder> [<file>]

`what` is one of `CHANGES`. Prints the name of each file before it is opened, and after it the name
and the outcome: `ok`, `refused`, or what was raised instead.
"""

import io
import random
import resource
import signal
import sys
import zipfile
from pathlib import Path

import torch
import yaml

from robobase.errors import UserError

ROOM = 2**30  # bytes beyond what the program itself takes
SECONDS = 60  # for each file; the machine may be busy
SPECIAL = [
    0, -1, 1, 2, 10**6, 10**9, 2**31, 2**62, 0.5, -0.5, 1e300, -1e300, True, False, None,
    float("nan"), float("inf"), "", "x", "1", "/etc/passwd", "../..", "${oc.env:HOME}",
    "${env.stage}", "${seed}", "???", "linear(1,0)", "a.b.C", "\x1b[2J", [], [1], [None], [[[]]],
    {}, {"a": 1}, {"_target_": "os.mkdir"}, {0: 1}, [0] * 1000, "y" * 10_000,
]  # fmt: skip


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut or put in; as often in what describes the file as anywhere."""
    data = bytearray(content)
    directory = content.rfind(b"PK\5\6") - 20_000
    for _ in range(rng.choice([1, 1, 2, 8])):
        low = rng.choice([0, max(0, directory)])
        high = rng.choice([len(data), min(len(data), 4000)])
        at = rng.randrange(min(low, high - 1), high)
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at : at + rng.choice([1, 4, 100])]
        else:
            data[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
    return bytes(data)


def repickled(content: bytes, rng: random.Random) -> bytes:
    """The pickle changed, with right checksums again."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            record = old.read(name)
            if name.endswith("data.pkl"):
                changed = bytearray(record)
                for _ in range(rng.choice([1, 2, 5])):
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
                record = bytes(changed)
            new.writestr(zipfile.ZipInfo(name), record)
    return written.getvalue()


def _paths(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*path, key))


def _changed(tree, rng: random.Random) -> None:
    """One to three values of nested containers replaced by special ones, or removed."""
    for _ in range(rng.choice([1, 1, 3])):
        path = rng.choice(list(_paths(tree)))
        node = tree
        for key in path[:-1]:
            node = node[key]
        if isinstance(node, dict) and rng.random() < 0.1:
            del node[path[-1]]
        else:
            node[path[-1]] = rng.choice(SPECIAL)


def reconfigured(content: bytes, rng: random.Random) -> bytes:
    """Values of the config changed."""
    payload = torch.load(io.BytesIO(content), weights_only=True)
    cfg = yaml.safe_load(payload["cfg"])
    _changed(cfg, rng)
    written = io.BytesIO()
    torch.save({**payload, "cfg": yaml.safe_dump(cfg, allow_unicode=True)}, written)
    return written.getvalue()


def restructured(content: bytes, rng: random.Random) -> bytes:
    """Values of the file's own containers changed."""
    payload = torch.load(io.BytesIO(content), weights_only=True)
    weights = payload.pop("weights")
    if rng.random() < 0.3:
        name = rng.choice(list(weights))
        weights[name] = rng.choice([torch.zeros(3), weights[name].double() * float("nan"), "x"])
    _changed(payload, rng)
    written = io.BytesIO()
    torch.save({"weights": weights, **payload}, written)
    return written.getvalue()


def restated(content: bytes, rng: random.Random) -> bytes:
    """Values of what a snapshot holds beside its config changed."""
    payload = torch.load(io.BytesIO(content), weights_only=True)
    cfg = payload.pop("cfg")
    _changed(payload, rng)
    if rng.random() < 0.3 and isinstance(payload.get("agent"), dict):
        name = rng.choice([*payload["agent"], "more"])
        tensor = rng.choice([torch.zeros(3), torch.full((8,), float("nan")), torch.zeros(0)])
        payload["agent"] = {**payload["agent"], name: tensor}
    written = io.BytesIO()
    torch.save({"cfg": cfg, **payload}, written)
    return written.getvalue()


CHANGES = {
    "bytes": flipped,
    "pickle": repickled,
    "config": reconfigured,
    "state": restated,
    "segmentation": restructured,
    "segmentation_bytes": flipped,
}


class TooLong(BaseException):
    """Is no Exception, so that nothing takes it for a fault of the file."""


def _stop(*_):
    raise TooLong


def outcome(open_it, path: Path) -> str:
    """What opening the file came to."""
    signal.alarm(SECONDS)
    try:
        open_it(path)
    except UserError as error:
        return "refused" if "\n" not in str(error) else f"TWO LINES {error!r}"
    except BaseException as error:
        return f"RAISED {type(error).__name__} {error!r:.300}"
    finally:
        signal.alarm(0)
    return "ok"


def main(what: str, seed: int, count: int, folder: Path, file: Path) -> None:
    """Does what the module says."""
    if what.startswith("segmentation"):
        from so101_robobase.perception.segmentation.inference import SegmentationInference

        open_it = SegmentationInference
    else:
        from so101_robobase.evaluation.policy import load_policy

        def open_it(path):
            policy = load_policy(path)
            env = policy.make_env(1)
            try:
                observations, _ = env.reset(seed=0)
                env.step(policy.act(observations))
            finally:
                env.close()

    open_it(file)  # loads all that is needed
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    signal.signal(signal.SIGALRM, _stop)
    content = file.read_bytes()
    for i in range(count):
        name = f"{what}-{seed}-{i}"
        path = folder / "0_snapshot.pt"
        path.unlink(missing_ok=True)
        path.write_bytes(CHANGES[what](content, random.Random(name)))
        print(name, flush=True)
        print(name, outcome(open_it, path), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
