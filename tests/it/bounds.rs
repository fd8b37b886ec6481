//! What is stored stays within its bounds, and what is asked for least goes first.
