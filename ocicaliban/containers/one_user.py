"""Run a command in which calls that change owners and users succeed, and do nothing: one_user.py COMMAND...

It is a program of its own, for the root of a user namespace with one uid, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# By machine: the number that the kernel has for the architecture, and the calls chown, fchown, lchown, fchownat, mknod,
# mknodat, capset, setgroups, and setuid, setgid, setreuid, setregid, setresuid, setresgid, setfsuid, setfsgid.
_CALLS = {
    "x86_64": (0xC000003E, (92, 93, 94, 260, 133, 259, 126, 116, 105, 106, 113, 114, 117, 119, 122, 123)),
    "aarch64": (0xC00000B7, (55, 54, 33, 91, 159, 146, 144, 145, 143, 147, 149, 151, 152)),
}
_ALLOW, _SUCCEED = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with 0
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if it is equal, return


def program(machine: str) -> bytes:
    """Return the filter, in the form of the kernel's classic BPF. Raises KeyError for another machine."""
    architecture, calls = _CALLS[machine]

    def instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    words = [instruction(_LOAD, 4), instruction(_EQUAL, architecture, 1), instruction(_RETURN, _ALLOW)]
    words += [instruction(_LOAD, 0)]
    words += [instruction(_EQUAL, call, len(calls) - number) for number, call in enumerate(calls)]
    return b"".join([*words, instruction(_RETURN, _ALLOW), instruction(_RETURN, _SUCCEED)])


def _install(code: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    buffer = ctypes.create_string_buffer(code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which an ordinary process may not filter
    wanted = Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(22, 2, ctypes.byref(wanted), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")


if __name__ == "__main__":
    _install(program(os.uname().machine))
    os.execvp(sys.argv[1], sys.argv[1:])
