//! What a backend may answer that is no answer: short, cut, garbled, contradictory, unasked.
