"""`python fuzz.py FOLDER COUNT SEED KIND...`: damaged files of each kind, one after the other.

Prints what was neither read nor refused in one line, or took too long. Memory beyond that of the
libraries is limited to 2 GiB.
"""

import os
import random
import resource
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve more than 3 GiB

from readers import KINDS

from robobase.errors import UserError

MEMORY = 2 * 2**30
SLOW = 20.0  # s of processor time


def faults_of(name: str, folder: Path, count: int, seed: int) -> list[str]:
    """What went wrong with `count` damaged files of the kind `name`; sound ones must be read."""
    kind = KINDS[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = kind.make(folder)
    sound = path.read_bytes()
    kind.read(path)
    rng = random.Random(f"{seed} {name}")
    faults = []
    for number in range(count):
        path.write_bytes(content := kind.damage(sound, rng))
        before = time.process_time()
        try:
            kind.read(path)
        except UserError as error:
            if len(str(error).split("\n")) > 1 or not str(error):
                faults.append(f"{name} {number}: {error!r}")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            (folder / f"fault_{zlib.crc32(content)}").write_bytes(content)
            faults.append(f"{name} {number}: {error!r:.200} at {where.filename}:{where.lineno}")
        if time.process_time() - before > SLOW:
            faults.append(f"{name} {number}: took {time.process_time() - before:.0f} s")
    path.write_bytes(sound)
    return faults


if __name__ == "__main__":
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    warnings.simplefilter("ignore")
    root, amount, start, *names = sys.argv[1:]
    found = [
        fault
        for each in names or KINDS
        for fault in faults_of(each, Path(root, each), int(amount), int(start))
    ]
    print(*found, sep="\n")
    sys.exit(bool(found))
