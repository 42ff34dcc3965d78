"""Write down which files a stage really opens, and how: put this folder on PYTHONPATH.

Does nothing unless AUDIT_LOG names a file and DVC started the process (DVC_STAGE names the cell).
"""

import os
import sys

_log, _stage = os.environ.get("AUDIT_LOG"), os.environ.get("DVC_STAGE")
if _log and _stage:
    _file = os.open(_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | os.PathLike):
            path = os.path.abspath(os.fspath(args[0]))  # noqa: PTH100 - pathlib would be slow here
            if args[1] is None and os.sep not in os.fspath(args[0]):
                return  # `os.open` within an open folder, as when one is removed with all in it
            writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            os.write(_file, f"{_stage}\t{'w' if writes else 'r'}\t{path}\n".encode())

    sys.addaudithook(_hook)
