"""What the user says for all projects: `ocicaliban/config.toml` in $XDG_CONFIG_HOME."""

from __future__ import annotations

from attrs import field, fields, frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.jsonc import line_of
from ocicaliban.model.project import Push
from ocicaliban.recipes.loader import read_toml, structure
from ocicaliban.system import files

NAME = "config.toml"


@frozen(kw_only=True)
class Config:
    """The user's own settings; `cdi_spec_dirs` are more folders to look for CDI specs in, `db_url` is the history's
    database, `push` says where images go."""

    cdi_spec_dirs: tuple[str, ...] = ()
    db_url: str = field(default="", repr=False)  # it may hold a password
    push: Push = field(factory=Push)


def read() -> Config:
    """The user's settings; the defaults where there is no such file.

    Raises UsageError with file and line for what is not known or has the wrong type.
    """
    path = files.config() / NAME
    try:
        # Opened, not asked for: `hot` hears of that, and replays no run that a new file would change.
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except OSError:
        pass  # told by read_toml
    text, raw = read_toml(path)
    try:
        config = structure(raw, Config, path=path, text=text)
    except UsageError as fault:
        known = ", ".join(known.name for known in fields(Config))
        raise UsageError(fault.message, fault.hint or f"known here: {known}") from fault
    assert isinstance(config, Config)
    for folder in config.cdi_spec_dirs:
        if not folder.startswith(("/", "~/")):
            place = f"{path}:{line_of(text, ('cdi_spec_dirs',))}"
            raise UsageError(f"{place}: '{folder}' in cdi_spec_dirs is not an absolute path", "begin it with / or ~/")
    return config
