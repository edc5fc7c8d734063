"""The one exception that a user is meant to read."""

import errno

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EACCES: "no permission: choose another folder",
    errno.EPERM: "no permission: choose another folder",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
}


class KitError(Exception):
    """Something a person can mend: the message says what is wrong, where, and what to do."""


def disk_fault(fault: OSError, where: object = "") -> KitError | None:
    """The sentence for a full disk, a missing permission or a file in the way; None for any other fault."""
    reason = _REASONS.get(fault.errno or 0)
    return KitError(f"cannot write {fault.filename or where}: {reason}") if reason else None
