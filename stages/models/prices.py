"""What tokens cost."""

from datetime import date

from pydantic import Field

from stages.params import Section


class Price(Section):
    """US dollars per million tokens, as of a date; null is not known.

    `batch` is the share of the price that a request through the Batch API pays.
    """

    input: float | None = Field(ge=0)
    output: float | None = Field(ge=0)
    as_of: date | None
    batch: float = Field(default=0.5, gt=0, le=1)

    def dollars(self, prompt: float, reply: float, batch: bool = False) -> float | None:
        """Return what so many tokens cost, None where the price is not known."""
        if self.input is None or self.output is None:
            return None
        share = self.batch if batch else 1.0
        return (prompt * self.input + reply * self.output) * share / 1e6


FREE = Price(input=0.0, output=0.0, as_of=None)
