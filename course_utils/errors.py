"""The course's errors: every message is one Chinese sentence that says what is wrong and how to mend it."""


class CourseError(Exception):
    """Base class. The command line prints the message alone and exits with 1; a notebook shows it as it is."""


class DataError(CourseError):
    """A row, a field or a file cannot be used. The message names them."""


class ConfigError(CourseError):
    """A setting is out of range, or two settings contradict each other."""


class WeightsError(CourseError):
    """The weights of a model are missing, damaged, or cannot be fetched."""
