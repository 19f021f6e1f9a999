"""Give a model the transitions of a lifecycle table, enforced by django-fsm."""

from collections.abc import Callable
from typing import Any, ClassVar

from django_fsm import GET_STATE, TransitionNotAllowed, transition

from plans.lifecycle import Lifecycle
from plans.refusal import Refused


class NotPossibleNow(Refused):
    """The state does not allow the move."""

    default_code = "not_possible_now"


def _mover(name: str) -> Callable[..., None]:
    def move(self: Any, target: str | None = None) -> None:
        """Change the state; stamps and events belong to the use case."""

    move.__name__ = name
    return move


class Driven:
    """A model whose `state` moves by its `lifecycle` table alone.

    The to_<transition>() methods are made when the class is, before django-fsm collects them.
    """

    lifecycle: ClassVar[Lifecycle]
    state: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Migrations build historical classes that carry no table.
        lifecycle: Lifecycle | None = getattr(cls, "lifecycle", None)
        if lifecycle is None:
            return
        for row in lifecycle.transitions:
            target: Any = row.target
            if target is None:
                target = GET_STATE(lambda _instance, to: to, states=list(lifecycle.states))
            mover = transition(field="state", source=list(row.sources), target=target)(
                _mover(row.name)
            )
            setattr(cls, f"to_{row.name}", mover)

    def move(self, name: str, *, to: str | None = None) -> None:
        """Make the named transition in memory; raise NotPossibleNow when the table forbids it."""
        arguments = () if self.lifecycle.named(name).target is not None else (to,)
        try:
            getattr(self, f"to_{name}")(*arguments)
        except TransitionNotAllowed as error:
            label = self.lifecycle.states[str(self.state)].lower()
            raise NotPossibleNow(
                f"This {self.lifecycle.noun} is {label}; '{name}' is not possible now.",
                possible=self.lifecycle.possible(str(self.state)),
            ) from error
