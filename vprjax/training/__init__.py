"""Training: the loop, the step and its state, resume, validation, records, memory."""
