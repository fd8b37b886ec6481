//! What a client may send, and how slowly.
