//! Every disguise of length and line end: the backend's view of each accepted request is unambiguous.
