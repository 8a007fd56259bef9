"""Versions of the contract: ``major.minor``, as a plugin states it. Never imports torch."""

import re

from .errors import BrokenPluginError

API_NAME = "INSTAX3D_API"
"""The name under which a registration module states the version that it was written for."""
_FORM = re.compile(r"(0|[1-9]\d{0,3})(?:\.(0|[1-9]\d{0,3}))?")


def parse_version(stated: object) -> tuple[int, int]:
    """Major and minor version: of ``"1.2"``, and of ``1`` or ``"1"``, which mean 1.0.

    Raises:
        ValueError: it is neither; says how a version is written. A float is refused, as 1.1 and 1.10 are the same
            number but not the same version.
    """
    if isinstance(stated, float):
        raise ValueError(f'{stated} is a number, as which 1.1 and 1.10 are one; write it in quotes, as in "1.1"')
    text = str(stated) if isinstance(stated, int | str) and not isinstance(stated, bool) else ""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f'{stated!r} is no version; write a whole number, or major and minor as in "1.1"')
    return int(match[1]), int(match[2] or 0)


def check_version(stated: object, offered: str, where: str) -> str:
    """The version that a plugin states, as ``major.minor``, if it can be used with the contract that is offered.

    Args:
        stated: the version that it was written for.
        offered: the version of the contract that is installed.
        where: the module that states it, for messages.

    Raises:
        BrokenPluginError: it is no version, of another major version, or of a newer minor one; says what to update.
    """
    try:
        major, minor = parse_version(stated)
    except ValueError as error:
        raise BrokenPluginError(f"{where}: {API_NAME} = {error}") from error
    ours = parse_version(offered)
    if major == ours[0] and minor <= ours[1]:
        return f"{major}.{minor}"
    old = major < ours[0]
    remedy = f"update the package of {where}" if old else "update instax3d, as by pip install --upgrade instax3d"
    raise BrokenPluginError(
        f"{where} targets plugin API {major}.{minor}, instax3d offers {ours[0]}.0 to {ours[0]}.{ours[1]}; {remedy}"
    )
