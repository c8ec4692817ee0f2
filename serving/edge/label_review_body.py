"""What somebody decides about a label that looks wrong, checked as it comes from outside."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.edge.rollout_body import MAX_REASON_CHARACTERS
from serving.predictions.labels.entries import MAX_ROW, MAX_TEXT_CHARACTERS


class ReviewBody(BaseModel):
    """A decision about one label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prediction_id: str = Field(max_length=36)
    row: int = Field(0, ge=0, le=MAX_ROW, strict=True)
    output: str | None = Field(None, max_length=MAX_TEXT_CHARACTERS)
    """As the label named it; None: the row's only label."""
    verdict: Literal["accept", "dismiss"]
    """It is wrong, and counts no more until it is corrected; or it is right."""
    reason: str = Field("", max_length=MAX_REASON_CHARACTERS)
