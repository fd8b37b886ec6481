//! Large bodies: streamed, at a bounded cost of memory.
