"""A Slurm of one node on this machine, from Debian's packages, with everything in one folder.

By hand: `python tests/robobase/slurm_cluster.py` starts one, prints what to export, and ends it by
Ctrl-C or SIGTERM.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = (
    "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "setpriv",
)  # fmt: skip
PACKAGES = "apt-get install munge slurmctld slurmd slurm-client util-linux"
_READY_SECONDS = 60

# No cgroups: a container may have none. Jobs are found by their parents instead.
CONFIG = """
ClusterName=one_node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=30
MinJobAge=300
InactiveLimit=0
PropagateResourceLimits=NONE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here; None where there can."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"no {', '.join(absent)}: {PACKAGES}"
    if os.getuid() != 0:
        return "Slurm's daemons run jobs as root"
    return None


@contextlib.contextmanager
def slurm(root: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Inside, a Slurm runs; yields the environment in which its commands know it.

    Raises:
        RuntimeError: its node is not ready after a minute; the message has the ends of the logs.
    """
    for name in ("state", "spool", "munge"):
        (root / name).mkdir(parents=True)
    (root / "munge").chmod(0o700)
    key = root / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    file = root / "slurm.conf"
    slurmctld_port, slurmd_port = _free_ports(2)
    values = {"slurmctld_port": slurmctld_port, "slurmd_port": slurmd_port}
    file.write_text(CONFIG.format(host=_host(), root=root, cpus=cpus, **values))
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    environment = {**os.environ, "SLURM_CONF": str(file), "PATH": path}
    commands = [
        [
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={root}/munge.socket", f"--pid-file={root}/munge/pid",
            f"--log-file={root}/munge/log", f"--seed-file={root}/munge/seed",
        ],
        ["slurmctld", "-D", "-f", str(file)],
        ["slurmd", "-D", "-f", str(file)],
    ]  # fmt: skip
    daemons: list[subprocess.Popen] = []
    with open(root / "daemons.log", "wb") as log:
        try:
            for command in commands:
                daemons.append(
                    subprocess.Popen(
                        ["setpriv", "--pdeathsig", "TERM", *command],  # when a test is killed
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        start_new_session=True,
                    )
                )
                if command[0] == "munged":
                    _wait_for(root, lambda: (root / "munge.socket").exists())
            _wait_for(root, lambda: _is_idle(environment))
            yield environment
        finally:
            _end(daemons, environment)


def _is_idle(environment: dict[str, str]) -> bool:
    words = ["sinfo", "-h", "-o", "%T"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "idle"


def _end(daemons: list[subprocess.Popen], environment: dict[str, str]) -> None:
    """Jobs first, which slurmd would leave behind."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        user = str(os.getuid())
        subprocess.run(["scancel", "-u", user], env=environment, check=False, timeout=20)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            done = subprocess.run(
                ["squeue", "-h", "-o", "%T"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=20,
            )
            if not done.stdout.strip():
                break
            time.sleep(0.5)
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _wait_for(root: Path, condition) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            logs = [root / name for name in ("daemons.log", "slurmctld.log", "slurmd.log")]
            ends = [f"{log}:\n{log.read_text()[-2000:]}" for log in logs if log.exists()]
            raise RuntimeError("\n".join(["no Slurm after a minute", *ends]))
        time.sleep(0.2)


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [taken.getsockname()[1] for taken in sockets]


if __name__ == "__main__":
    reason = missing()
    if reason is not None:
        sys.exit(f"error: {reason}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory() as folder,
        slurm(Path(folder)) as found,
    ):
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)
        signal.pause()
