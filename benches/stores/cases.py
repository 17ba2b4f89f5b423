"""The cases: which set goes from where to where."""

import collections

UP, RERUN, DOWN, BETWEEN = "up", "rerun", "down", "between"


class Case(collections.namedtuple("Case", "name data kind title")):
    """What is measured of each client."""

    __slots__ = ()

    @property
    def from_bucket(self):
        """Whether the source is a bucket."""
        return self.kind in (DOWN, BETWEEN)


CASES = {case.name: case for case in (
    Case("small-up", "small", UP, "up"),
    Case("rerun", "small", RERUN, "rerun, no change"),
    Case("small-down", "small", DOWN, "down"),
    Case("bucket-to-bucket", "small", BETWEEN, "bucket to bucket"),
    Case("large-up", "large", UP, "up"),
    Case("large-down", "large", DOWN, "down"),
    Case("large-bucket-to-bucket", "large", BETWEEN, "bucket to bucket"),
)}
