//! Fills that carry the client's fields, as a plain RFC 9111 cache does.
