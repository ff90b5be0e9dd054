"""Why a file was not imported, as told from the child to the parent."""


class ImportRefused(Exception):
    """The file cannot become a data set; the message says what to do about it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
