"""Landlock and seccomp through ctypes: what bubblewrap does, as far as a process can by itself.

Landlock leaves the interpreter to read and nothing to write, and cuts TCP, abstract unix sockets
and signals to others. Seccomp refuses what landlock does not know: other sockets, new processes and
programs, changes of modes, owners and times, shared memory, and the kernel's rarer doors. Paths
can still be looked up (stat), which tells that they exist.
"""

import ctypes
import os
import platform
import struct

ABI = 6
"""The first landlock that cuts signals and abstract sockets."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FILES, _TCP, _SCOPES = (1 << 16) - 1, 3, 3
_READ = 1 << 2 | 1 << 3  # files, folders
_WRITE = 1 << 1
_WRITABLE = "/dev/null"

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_X32 = 0x40000000
_REFUSED = {
    "network": [41],
    "processes and programs": [57, 58, 59, 322],
    "modes, owners, times, attributes": [
        *(90, 91, 92, 93, 94, 132, 188, 189, 190, 197, 198, 199, 235, 260, 261, 268, 280, 452),
        *(463, 466),
    ],
    "memory and queues that outlive a process": [29, 64, 68, 240, 319, 447],
    "other processes": [101, 310, 311, 424, 434, 438],
    "limits": [160],
    "watching files": [253, 294, 300],
    "mounts, roots and namespaces": [
        *(155, 161, 165, 166, 272, 303, 304, 308, 428, 429, 430, 431, 432, 433, 442),
    ],
    "the machine": [
        *(103, 133, 159, 163, 164, 167, 168, 169, 170, 171, 172, 173, 175, 176, 179, 227, 246),
        *(305, 313, 320, 443),
    ],
    "kernel interfaces": [135, 248, 249, 250, 298, 317, 321, 323, 425, 426, 427],
}
_CLONE, _CLONE3, _PRLIMIT = 56, 435, 302
_CLONE_THREAD = 0x10000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
    return result


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(number, *arguments), f"system call {number}")


def _prctl(option: int, first: int, second: int = 0) -> None:
    words = (ctypes.c_ulong(one) for one in (first, second, 0, 0))
    _checked(_libc.prctl(option, *words), f"prctl {option}")


def landlock_version() -> int:
    """Return the ABI of the kernel's landlock, 0 where there is none or no filter of ours."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return 0
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    return max(0, found)


def _landlock(readable: list[str]) -> None:
    attributes = struct.pack("=QQQ", _FILES, _TCP, _SCOPES)
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    for path in readable:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = _READ if os.path.isdir(path) else 1 << 2  # noqa: PTH112 - pathlib is slow to import
        access |= _WRITE if path == _WRITABLE else 0
        _call(_ADD_RULE, rules, 1, struct.pack("=Qi", access, descriptor), 0)
        os.close(descriptor)
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _filter() -> bytes:
    """Return the seccomp filter as BPF: what is refused is EPERM, clone3 is ENOSYS."""
    load, equal, greater, bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, no_permission, no_such = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    program = [step(load, 4), step(equal, _ARCHITECTURE, 1), step(answer, kill)]
    program += [step(load, 0), step(greater, _X32, 0, 1), step(answer, kill)]
    for number in sorted(number for numbers in _REFUSED.values() for number in numbers):
        program += [step(equal, number, 0, 1), step(answer, no_permission)]
    # glibc falls back from clone3, whose flags a filter cannot see, to clone.
    program += [step(equal, _CLONE3, 0, 1), step(answer, no_such)]
    # A thread is fine, a process is not; a limit may be read, not set.
    program += [step(equal, _CLONE, 0, 3), step(load, 16), step(bits, _CLONE_THREAD, 5, 0)]
    program += [step(answer, no_permission)]
    program += [step(equal, _PRLIMIT, 0, 3), step(load, 32), step(equal, 0, 1, 0)]
    program += [step(answer, no_permission), step(answer, allow)]
    return b"".join(program)


def _drop_capabilities() -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    _call(126, header, bytes(24))


def _seccomp() -> None:
    program = _filter()
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    described_code = ctypes.create_string_buffer(described, len(described))
    _prctl(22, 2, ctypes.addressof(described_code))


def confine(readable: list[str], parent: int) -> None:
    """Confine this process for good; it dies with its parent.

    Args:
        readable: the files and folders it may read; all others, and all writing, are refused.
        parent: the process that started it.

    Raises:
        OSError: the kernel refuses; nothing may run then.
    """
    _prctl(1, 9)
    if os.getppid() != parent:
        raise OSError("the parent is gone")
    _prctl(38, 1)
    _drop_capabilities()
    _landlock(readable)
    _seccomp()
