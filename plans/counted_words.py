"""Say how many of a thing there are, as people say it: "1 tenant is", "3 tenants are"."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with its word; `many` where an s at the end is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"
