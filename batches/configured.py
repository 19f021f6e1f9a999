"""What this installation's files say: deployers, the Kpi dictionary, what may be reached."""

from functools import lru_cache
from os import PathLike
from pathlib import Path

from django.conf import settings

from batches.deployers.deployers_yaml import DeployerSpec, DeployersRejected, load_deployers
from batches.kpis.dictionary import Dictionary, DictionaryRejected, load_dictionary
from plans.refusal import BadInput
from upgradeconsole.outbound import Rules, RulesFile, refusal_of
from upgradeconsole.secret_environ import SecretEnviron


def is_example(file: PathLike[str]) -> bool:
    """Tell whether a file of the configuration is a shipped one, which says nothing of ours."""
    return Path(file).is_relative_to(settings.BASE_DIR / "config")


def _stamp(file: PathLike[str]) -> tuple[str, int, int]:
    path = Path(file)
    try:
        status = path.stat()
    except OSError as error:
        raise BadInput([f"{path}: cannot be read: {error.strerror}"]) from error
    return str(path), status.st_mtime_ns, status.st_size


def secret_environ() -> SecretEnviron:
    """Return the environment in which NAME_FILE stands for NAME."""
    return SecretEnviron()


@lru_cache(maxsize=4)
def _rules(file: PathLike[str]) -> RulesFile:
    return RulesFile(file)


def outbound_rules() -> Rules:
    """Return the administrator's rules of what the console may connect to, as of each moment."""
    return _rules(settings.OUTBOUND_FILE)


@lru_cache(maxsize=4)
def _deployers(path: str, _mtime: int, _size: int) -> dict[str, DeployerSpec]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        return load_deployers(text, environ=secret_environ())
    except DeployersRejected as rejected:
        raise BadInput([f"{path}: {problem}" for problem in rejected.problems]) from rejected


@lru_cache(maxsize=4)
def _dictionary(path: str, _mtime: int, _size: int) -> Dictionary:
    try:
        return load_dictionary(Path(path).read_text(encoding="utf-8"))
    except DictionaryRejected as rejected:
        raise BadInput(
            [
                f"{path}: line {problem.line}: {problem}" if problem.line else f"{path}: {problem}"
                for problem in rejected.problems
            ]
        ) from rejected


def deployers() -> dict[str, DeployerSpec]:
    """Return the configured deployers by name; raise BadInput with all problems of the file."""
    return _deployers(*_stamp(settings.DEPLOYERS_FILE))


def dictionary() -> Dictionary:
    """Return the Kpi dictionary; raise BadInput with all problems of the file."""
    return _dictionary(*_stamp(settings.DICTIONARY_FILE))


def dictionary_path() -> str:
    """Return where the Kpi dictionary is kept."""
    return str(settings.DICTIONARY_FILE)


def deployer_spec(name: str) -> DeployerSpec:
    """Return one deployer's description; raise BadInput naming the known ones."""
    known = deployers()
    if name not in known:
        raise BadInput(
            [f"deployer: there is no deployer {name!r}; the file has {', '.join(sorted(known))}"]
        )
    _last_good[name] = known[name]
    return known[name]


def way_shut(spec: DeployerSpec) -> str:
    """Return why a deployer can never be reached, as far as can be told without a look-up."""
    return refusal_of(spec.base_url, outbound_rules()(), "deployers") if spec.base_url else ""


_last_good: dict[str, DeployerSpec] = {}


def deployer_at_hand(name: str) -> DeployerSpec:
    """Return a deployer for calls: while the file is broken, as this process last read it.

    What was touched must come back although somebody edits the file; nothing begins meanwhile.
    """
    try:
        return deployer_spec(name)
    except BadInput:
        if name not in _last_good:
            raise
        return _last_good[name]
