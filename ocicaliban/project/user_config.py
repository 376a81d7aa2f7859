"""Read the user's own settings, which hold for all projects: `ocicaliban/config.toml` in $XDG_CONFIG_HOME."""

from __future__ import annotations

from attrs import field, fields, frozen

from ocicaliban.errors import UsageError
from ocicaliban.formats.toml import place, read_toml, structure
from ocicaliban.model.project import Push, RunTable
from ocicaliban.project import log_size, run_settings
from ocicaliban.project.config import target_tables
from ocicaliban.project.run_settings import Where
from ocicaliban.system import files

NAME = "config.toml"


@frozen(kw_only=True)
class UserFile:
    """The keys of `config.toml`, apart from `run`, and from `targets`, whose form depends on the targets."""

    cdi_spec_dirs: tuple[str, ...] = ()
    db_url: str = field(default="", repr=False)  # it may hold a password
    image_store: str = ""  # `containers/user_choices` reads these two at each start
    layer_files: str = ""
    push: Push = field(factory=Push)
    log_size_max: str = ""


@frozen(kw_only=True)
class UserConfig(UserFile):
    """The user's settings: folders with CDI specs, the URL of the history's database, where images are pushed.

    `image_store` is where images are stored, and `layer_files` where layers are kept for stores that may vanish.
    `log_size_max` is how large the log of a job becomes. `targets` has what jobs ask for on other targets, and `run`
    what containers get here.
    """

    run: RunTable = field(factory=RunTable)
    targets: dict[str, dict[str, object]] = field(factory=dict)


def load_user_config() -> UserConfig:
    """Return the user's settings, or the defaults if there is no such file.

    Raises UsageError with file and line for an unknown key or a value of the wrong type.
    """
    path = files.config() / NAME
    try:
        # Open the file rather than ask whether it exists: `replay` notices that, and replays no run after it appears.
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return UserConfig()
    except OSError:
        pass  # read_toml reports it
    text, raw = read_toml(path)
    targets = target_tables(raw.pop("targets", {}), path, text)
    run = run_settings.read(raw.pop("run", {}), Where(path=path, text=text))
    read = structure(raw, UserFile, path=path, text=text)
    assert isinstance(read, UserFile)
    config = UserConfig(**{each.name: getattr(read, each.name) for each in fields(UserFile)}, targets=targets, run=run)
    log_size.check(config.log_size_max, place(path, text, ("log_size_max",)))
    for folder in config.cdi_spec_dirs:
        if not folder.startswith(("/", "~/")):
            where = place(path, text, ("cdi_spec_dirs",))
            raise UsageError(f"{where}: '{folder}' in cdi_spec_dirs is not an absolute path", "begin it with / or ~/")
    for key in ("image_store", "layer_files"):
        if (folder := getattr(config, key)) and not folder.startswith(("/", "~/", "$")):
            hint = "begin it with /, ~/ or a variable"
            raise UsageError(f"{place(path, text, (key,))}: '{folder}' in {key} is not an absolute path", hint)
    return config
