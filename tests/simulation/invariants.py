"""What must hold of every world."""

from tests.simulation.world import World


def check(world: World) -> None:
    pass
