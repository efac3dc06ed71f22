"""Where a task is cut when it does not fit into the open batch."""


def split_sizes(num_rows: int, open_room: int, max_batch_size: int) -> list[int]:
    """Returns the sizes, in order, of the parts of a task of `num_rows` rows (1 or more).

    The first part fills the `open_room` rows left in the open batch (0: there is none), the others
    are full batches, and the last one is what remains. Sizes are 1 or more and add up to
    `num_rows`.
    """
    if num_rows <= open_room:
        return [num_rows]
    first = [open_room] if open_room else []
    num_full, tail = divmod(num_rows - open_room, max_batch_size)
    return first + [max_batch_size] * num_full + ([tail] if tail else [])
