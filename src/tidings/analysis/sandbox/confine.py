"""Confinement of this process by the kernel: resource limits, Landlock, no network, no survival.

Each measure is taken if the kernel has it; the result says which are in force.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Iterable
from pathlib import Path

OPEN_FILES_MAX = 64

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_QUERY_ABI = 1
_ACCESS_READ_FILE, _ACCESS_READ_DIR = 1 << 2, 1 << 3
_ACCESS_NET_TCP = 0b11
_SCOPE_ALL = 0b11
_FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ABI_WITH_NET, _ABI_WITH_SCOPES = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def die_with_parent() -> bool:
    """Have the kernel kill this process when the one that started it dies."""
    return bool(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def leave_network() -> bool:
    """Move to a network of our own, with nothing in it."""
    return any(
        _libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    )


def limit_resources(address_space_bytes: int, file_bytes: int) -> bool:
    """Bound memory, written files and open files; no core dumps."""
    limits = (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0),
    )
    for which, value in limits:
        _, hard = resource.getrlimit(which)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))
    return True


def allow_cpu(seconds: int) -> None:
    """Allow this process so many more seconds of CPU; beyond, the kernel ends it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + seconds + 1, hard)
    )


def restrict_files(readable: Iterable[Path], writable: Iterable[Path]) -> dict[str, bool]:
    """Deny every file, socket and signal but what is named: files to read, folders to write in."""
    abi = _libc.syscall(_CREATE_RULESET, None, 0, _QUERY_ABI)
    if abi < 1 or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return {"landlock": False, "landlock_network": False}
    rights = (1 << _FS_RIGHTS_BY_ABI.get(abi, 16)) - 1
    with_net = abi >= _ABI_WITH_NET
    ruleset = _Ruleset(
        rights, _ACCESS_NET_TCP if with_net else 0, _SCOPE_ALL if abi >= _ABI_WITH_SCOPES else 0
    )
    handle = _libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    if handle < 0:
        return {"landlock": False, "landlock_network": False}
    try:
        for path in readable:
            _allow(handle, path, _ACCESS_READ_FILE)
        for path in writable:
            _allow(handle, path, rights)
        in_force = bool(_libc.syscall(_RESTRICT_SELF, handle, 0) == 0)
    finally:
        os.close(handle)
    return {"landlock": in_force, "landlock_network": in_force and with_net}


def _allow(ruleset: int, path: Path, access: int) -> None:
    """Add a rule; a path that cannot be opened gets none, and stays denied."""
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(access, parent)
        _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
